/** What is not needed is not loaded: an SDK costs a tenth of a second and more, and tens of megabytes. */
import { execFile } from "node:child_process";
import { mkdir, readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { pathToFileURL } from "node:url";
import { promisify } from "node:util";
import { expect, test } from "vitest";
import { FROM_SOURCES } from "../support/from-sources.ts";
import { runPannierOk } from "../support/pannier.ts";
import { workDirectory } from "./support.ts";

const HEAVY =
  /node_modules\/(?:@aws-sdk|@smithy|@azure|@google-cloud|google-auth-library|gaxios|isomorphic-git|ssh2|basic-ftp|saxes|koffi|zod|yaml)\//;

test.each([["--version"], ["adapters"], ["sync", "source", "target"]])(
  "no SDK is loaded by pannier %s",
  async (...args) => {
    const work = await workDirectory();
    await mkdir(join(work, "source"));
    await writeFile(join(work, "source/a"), "1");
    const { log, env } = await recordLoaded(work);
    await runPannierOk(args, { cwd: work, env });
    const loaded = await log();
    expect(loaded.filter((url) => url.includes("/packages/cli/src/")).length).toBeGreaterThan(2);
    expect(loaded.filter((url) => HEAVY.test(url))).toEqual([]);
  },
);

test.each(["ftp", "nfs", "oci", "sftp", "smb", "webdav"])(
  "nothing heavy is loaded by making a source of %s",
  async (name) => {
    const { log, env } = await recordLoaded(await workDirectory());
    const scheme = name === "webdav" ? "dav" : name;
    const script = `const { ${name} } = await import("@pannier/adapter-${name}");
      ${name}("${scheme}://127.0.0.1:1/share/");`;
    const args = [...FROM_SOURCES, "--input-type=module", "-e", script];
    await promisify(execFile)(process.execPath, args, {
      cwd: import.meta.dirname,
      env: { ...process.env, ...env },
    });
    const loaded = await log();
    expect(loaded).toContainEqual(
      expect.stringContaining(`/packages/adapter-${name}/src/adapter.ts`),
    );
    expect(loaded.filter((url) => HEAVY.test(url))).toEqual([]);
  },
);

/** What a process with `env` loads, by URL. */
async function recordLoaded(work: string) {
  const [hook, log] = [join(work, "hook.mjs"), join(work, "loaded")];
  await writeFile(
    hook,
    `import { appendFileSync } from "node:fs";
     import { registerHooks } from "node:module";
     registerHooks({ load(url, context, next) { appendFileSync(${JSON.stringify(log)}, url + "\\n"); return next(url, context); } });`,
  );
  return {
    log: async () => (await readFile(log, "utf8")).split("\n"),
    env: { NODE_OPTIONS: `--import=${pathToFileURL(hook).href}` },
  };
}
