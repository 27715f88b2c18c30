/** What is not needed is not loaded: an SDK costs a tenth of a second and more, and tens of megabytes. */
import { mkdir, readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { pathToFileURL } from "node:url";
import { expect, test } from "vitest";
import { runPannierOk } from "../support/pannier.ts";
import { workDirectory } from "./support.ts";

const HEAVY =
  /node_modules\/(?:@aws-sdk|@smithy|@azure|google-auth-library|gaxios|isomorphic-git|ssh2|basic-ftp|zod|yaml)\//;

test.each([["--version"], ["adapters"], ["sync", "source", "target"]])(
  "no SDK is loaded by pannier %s",
  async (...args) => {
    const work = await workDirectory();
    await mkdir(join(work, "source"));
    await writeFile(join(work, "source/a"), "1");
    const [hook, log] = [join(work, "hook.mjs"), join(work, "loaded")];
    await writeFile(
      hook,
      `import { appendFileSync } from "node:fs";
       import { registerHooks } from "node:module";
       registerHooks({ load(url, context, next) { appendFileSync(${JSON.stringify(log)}, url + "\\n"); return next(url, context); } });`,
    );
    const env = { NODE_OPTIONS: `--import=${pathToFileURL(hook).href}` };
    await runPannierOk(args, { cwd: work, env });
    const loaded = (await readFile(log, "utf8")).split("\n");
    expect(loaded.filter((url) => url.includes("/packages/cli/src/")).length).toBeGreaterThan(2);
    expect(loaded.filter((url) => HEAVY.test(url))).toEqual([]);
  },
);
