/**
 * Releases on a real Gitea. It takes 4.8 minutes of processor time to build, so it is tried where somebody has built it:
 *
 *     version=v1.26.0 && cd "$(mktemp -d)" && dir=$(go mod download -json "code.gitea.io/gitea@$version" | jq -r .Dir)
 *     sed 's#^module .*#module scratch#' "$dir/go.mod" >go.mod && cp "$dir/go.sum" . && chmod u+w go.sum
 *     echo "require code.gitea.io/gitea $version" >>go.mod
 *     GOFLAGS=-mod=mod go build -gcflags 'all=-N -l' -tags 'sqlite sqlite_unlock_notify' -o CHECKOUT/.tools/bin/gitea code.gitea.io/gitea
 *     PANNIER_TEST_GITEA=$dir npm run test:real -- test/real/gitea.test.ts
 */
import { execFile } from "node:child_process";
import { createHash } from "node:crypto";
import { mkdir, mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { promisify } from "node:util";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { describeOutcome, runPannier } from "../support/pannier.ts";
import { end, findProgram, listening, run } from "./servers/process.ts";

const execute = promisify(execFile);
const gitea = findProgram("gitea");
/** Its templates and translations, which lie beside the sources. */
const assets = process.env["PANNIER_TEST_GITEA"];

let folder: string;
let origin: string;
let token: string;
let stop = async () => {};

async function start(): Promise<void> {
  folder = await mkdtemp(join(tmpdir(), "pannier-gitea-"));
  const config = join(folder, "app.ini");
  const env = {
    GITEA_WORK_DIR: folder,
    HOME: folder,
    GITEA_I_AM_BEING_UNSAFE_RUNNING_AS_ROOT: "true",
  };
  await mkdir(join(folder, "data"));
  const { child, ports } = await listening(
    "gitea",
    1,
    async ([port = 0]) => {
      origin = `http://127.0.0.1:${port}`;
      const settings = `I_AM_BEING_UNSAFE_RUNNING_AS_ROOT = true
[server]
HTTP_ADDR = 127.0.0.1
HTTP_PORT = ${port}
ROOT_URL = ${origin}/
STATIC_ROOT_PATH = ${assets}
DISABLE_SSH = true
OFFLINE_MODE = true
[database]
DB_TYPE = sqlite3
PATH = ${join(folder, "data/gitea.db")}
[security]
INSTALL_LOCK = true
[log]
LEVEL = Error
`;
      await writeFile(config, settings);
      return run(gitea as string, ["web", "--config", config], { quiet: true, env });
    },
    120_000,
  );
  expect(ports).toHaveLength(1);
  stop = () => end(child);
  const admin = (...args: readonly string[]) =>
    execute(gitea as string, ["admin", "user", ...args, "--config", config], {
      env: { ...process.env, ...env },
    });
  const user = [
    "--username",
    "web",
    "--password",
    "correct-horse-battery",
    "--email",
    "web@example.com",
  ];
  await admin("create", ...user, "--admin", "--must-change-password=false");
  const made = await admin(
    "generate-access-token",
    "--username",
    "web",
    "--scopes",
    "all",
    "--raw",
  );
  token = made.stdout.trim().split("\n").at(-1) as string;
}

async function api(path: string, body: unknown): Promise<{ readonly id: number }> {
  const isForm = body instanceof FormData;
  const response = await fetch(`${origin}/api/v1/${path}`, {
    method: "POST",
    headers: {
      authorization: `token ${token}`,
      ...(isForm ? {} : { "content-type": "application/json" }),
    },
    body: isForm ? body : JSON.stringify(body),
  });
  const text = await response.text();
  if (!response.ok) throw new Error(`${path}: ${response.status} ${text}`);
  return JSON.parse(text) as { id: number };
}

async function publish(
  repository: string,
  tag: string,
  files: Readonly<Record<string, string>>,
  more = {},
) {
  const made = await api(`repos/web/${repository}/releases`, {
    tag_name: tag,
    target_commitish: "main",
    name: tag,
    ...more,
  });
  for (const [name, content] of Object.entries(files)) {
    const form = new FormData();
    form.append("attachment", new Blob([content]), name);
    await api(`repos/web/${repository}/releases/${made.id}/assets?name=${name}`, form);
  }
}

const sums = (name: string, content: string) =>
  `${createHash("sha256").update(content).digest("hex")}  ${name}\n`;

describe.skipIf(gitea === undefined || assets === undefined)(
  "releases on Gitea",
  {
    meta: {
      skipReason:
        "no gitea in .tools/bin, or PANNIER_TEST_GITEA does not name its sources: the test tells how to build it",
    },
  },
  () => {
    beforeAll(start, 240_000);
    afterAll(async () => {
      await stop();
      await rm(folder, { recursive: true, force: true });
    });

    test.each([
      ["open", false],
      ["private", true],
    ])("of a repository that is %s", async (name, isPrivate) => {
      await api("user/repos", {
        name,
        auto_init: true,
        default_branch: "main",
        private: isPrivate,
      });
      await publish(name, "v1.0.0", { "page.txt": "one", SHA256SUMS: sums("page.txt", "one") });
      const target = join(folder, `target-${name}`);
      const tokenFile = join(folder, "token");
      await writeFile(tokenFile, token);
      const env = isPrivate ? { PANNIER_TOKEN_FILE: tokenFile } : {};
      const sync = (query: string) =>
        runPannier(["sync", `release+${origin}/web/${name}?api=gitea&${query}`, target], { env });
      const published = () => readFile(join(target, "current/page.txt"), "utf8");
      const first = await sync("asset=page.txt");
      expect(first.code, describeOutcome(first)).toBe(0);
      expect(await published()).toBe("one");

      await publish(name, "v1.1.0", { "page.txt": "two", SHA256SUMS: sums("page.txt", "two") });
      await publish(name, "v2.0.0-rc.1", { "page.txt": "early" }, { prerelease: true });
      expect((await sync("asset=page.txt")).code).toBe(0);
      expect(await published()).toBe("two");
      expect((await sync("asset=page.txt&tag=v1.0.0")).code).toBe(0);
      expect(await published()).toBe("one");
      expect((await sync(`asset=page.txt&semver=${encodeURIComponent("^1.0.0")}`)).code).toBe(0);
      expect(await published()).toBe("two");

      // What was put up is not what its checksum says.
      await publish(name, "v1.2.0", { "page.txt": "three", SHA256SUMS: sums("page.txt", "3") });
      const wrong = await sync("asset=page.txt");
      expect(wrong.code, describeOutcome(wrong)).toBe(6);
      expect(await published()).toBe("two");
      const stranger = await runPannier([
        "ls",
        `release+${origin}/web/${name}?api=gitea&asset=page.txt`,
      ]);
      expect(stranger.code, describeOutcome(stranger)).toBe(isPrivate ? 4 : 0);
    });
  },
);
