/** What `npm pack` makes of a package, and when a release may go out. */
import { execFileSync, spawnSync } from "node:child_process";
import { globSync, readFileSync } from "node:fs";
import { cp, mkdir, mkdtemp, readFile, rm, symlink, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { beforeAll, describe, expect, test } from "vitest";
import { parse } from "yaml";
import { packedFiles } from "../../scripts/packed-files.ts";
import { reasonsAgainst, releasedChangelog, versionedChart } from "../../scripts/release.ts";
import { ROOT } from "../docs/pages.ts";
import { gitVersion } from "../support/git-server.ts";

function version(launcher: string): string {
  return spawnSync(process.execPath, [launcher, "--version"], { encoding: "utf8" }).stdout;
}

const README = "packages/cli/README.md";

describe.skipIf(gitVersion === undefined)(
  "a package that is packed",
  { meta: { skipReason: "needs the git program" } },
  () => {
    let place: string;
    let commit: string;
    let packed: string;

    const git = (...args: string[]) =>
      execFileSync("git", ["-c", "user.name=t", "-c", "user.email=t@localhost", ...args], {
        cwd: place,
        encoding: "utf8",
      }).trim();
    beforeAll(async () => {
      place = await mkdtemp(join(tmpdir(), "pannier-pack-"));
      for (const name of ["package.json", "LICENSE", ".gitignore", "scripts", "packages/cli"])
        await cp(join(ROOT, name), join(place, name), {
          recursive: true,
          filter: (path) => !/\/(dist|node_modules|\.turbo)$/.test(path),
        });
      await symlink(join(ROOT, "node_modules"), join(place, "node_modules"));
      await writeFile(join(place, ".gitignore"), "node_modules\ndist/\n.turbo/\n");
      git("init", "-q");
      git("add", ".");
      git("commit", "-qm", "First");
      commit = git("rev-parse", "--short=12", "HEAD");
      // As if built.
      await mkdir(join(place, "packages/cli/dist"));
      await writeFile(join(place, "packages/cli/dist/index.js"), "export {};\n");

      const cwd = join(place, "packages/cli");
      execFileSync("npm", ["pack", "--silent", "--pack-destination", place], { cwd });
      const [tarball = ""] = globSync("*.tgz", { cwd: place });
      execFileSync("tar", ["xzf", tarball], { cwd: place });
      await rm(join(place, tarball));
      packed = join(place, "package");
      return () => rm(place, { recursive: true });
    });

    test("has what the check of packages looks at, and the commit", () => {
      const names = globSync("**/*.*", { cwd: packed, withFileTypes: false });
      const { name, files } = JSON.parse(
        readFileSync(join(place, "packages/cli/package.json"), "utf8"),
      ) as { name: string; files: string[] };
      const looked = packedFiles("packages/cli", { name, version: "0.0.0", files }, place);
      expect([...names, "LICENSE"].toSorted()).toEqual([...looked.keys()].toSorted());
      expect(readFileSync(join(packed, "LICENSE"))).toEqual(readFileSync(join(ROOT, "LICENSE")));
      expect(version(join(packed, "bin/pannier.js"))).toMatch(
        new RegExp(`^\\d+\\.\\d+\\.\\d+ \\(${commit}\\)\n$`),
      );
    });

    test("has a README whose links lead out of it", async () => {
      const [before, after] = await Promise.all([
        readFile(join(ROOT, README), "utf8"),
        readFile(join(packed, "README.md"), "utf8"),
      ]);
      expect(before).toContain("](../../docs/configuration.md)");
      expect(after).toMatch(/\]\(https:\/\/[^)]+\/blob\/v[\d.]+\/docs\/configuration\.md\)/);
      expect(after).not.toContain("](../");
    });

    test("leaves the checkout as it was, which knows its commit by git", async () => {
      await rm(join(place, "package"), { recursive: true });
      expect(git("status", "--porcelain", "--ignored", "packages/cli")).toBe(
        "!! packages/cli/dist/",
      );
      const launcher = join(place, "packages/cli/bin/pannier.js");
      expect(version(launcher)).toContain(` (${commit})\n`);
      await writeFile(launcher, "\n", { flag: "a" });
      expect(version(launcher)).toContain(` (${commit}-dirty)\n`);
      await rm(join(place, ".git"), { recursive: true });
      expect(version(launcher)).toMatch(/^\d+\.\d+\.\d+\n$/);
    });
  },
);

function reasons(...args: Parameters<typeof reasonsAgainst>): string[] {
  return [...reasonsAgainst(...args)];
}

describe("a release", () => {
  const text = "# Changelog\n\n## [Unreleased]\n\n### Added\n\n- All of it.\n";

  test("takes what is unreleased, and leaves the heading for the next", () => {
    expect(releasedChangelog(text, "0.1.0", "2026-12-01")).toBe(
      "# Changelog\n\n## [Unreleased]\n\n## [0.1.0] - 2026-12-01\n\n### Added\n\n- All of it.\n",
    );
    const released = releasedChangelog(text, "0.1.0", "2026-12-01");
    expect(() => releasedChangelog(released, "0.2.0", "2026-12-02")).toThrow(/has nothing below/);
  });

  test("gives the Helm chart its version", () => {
    const chart = readFileSync(join(ROOT, "deploy/helm/pannier/Chart.yaml"), "utf8");
    const { version: _, appVersion: __, ...rest } = parse(chart) as Record<string, unknown>;
    const expected = { ...rest, version: "1.2.3", appVersion: "1.2.3" };
    expect(parse(versionedChart(chart, "1.2.3"))).toEqual(expected);
  });

  test("does not go out without a home, a heading or a clean checkout", () => {
    expect(reasons("https://git.example.com/a/b", text, "0.1.0", " M x")).toEqual([
      expect.stringContaining("the project's home is not known"),
      expect.stringContaining("no heading for 0.1.0"),
      expect.stringContaining("differs from its commit"),
    ]);
    const released = releasedChangelog(text, "0.1.0", "2026-12-01");
    expect(reasons("https://git.example.net/a/b", released, "0.1.0", "")).toEqual([]);
  });
});
