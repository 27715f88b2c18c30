/** Files of every kind of source that has them, signed by minisign itself. */
import { execFile } from "node:child_process";
import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { promisify } from "node:util";
import { describe, expect, inject, onTestFinished, test } from "vitest";
import { SOURCES } from "../image/sources.ts";
import { describeOutcome, runPannier } from "../support/pannier.ts";
import { findProgram } from "./servers/process.ts";

const execute = promisify(execFile);
const minisign = findProgram("minisign");
const servers = inject("servers");

/** Adapters of which a source can be one file, with its signature beside it. */
const ADAPTERS = [
  "file",
  "http",
  "s3",
  "gcs",
  "azure",
  "webdav",
  "sftp",
  "ftp",
  "smb",
  "nfs",
] as const;

interface Signer {
  readonly publicKey: string;
  /** The text of a `.minisig`. */
  sign(content: string): Promise<string>;
}

async function makeSigner(directory: string, name: string): Promise<Signer> {
  const at = (ending: string) => join(directory, `${name}.${ending}`);
  const run = (...args: string[]) => execute(minisign as string, args, { cwd: directory });
  await run("-G", "-W", "-p", at("pub"), "-s", at("key"));
  return {
    publicKey: at("pub"),
    async sign(content) {
      await writeFile(at("txt"), content);
      await run("-S", "-s", at("key"), "-m", at("txt"), "-x", at("minisig"));
      return readFile(at("minisig"), "utf8");
    },
  };
}

describe.each(ADAPTERS)("%s", (adapter) => {
  const { server, make } = SOURCES[adapter] as NonNullable<(typeof SOURCES)[string]>;
  const missing = server !== undefined && servers[server] === undefined ? server : undefined;
  const lacks = minisign === undefined ? "minisign" : missing;

  test.skipIf(lacks !== undefined)(
    "a file is published as it was signed, by whoever is trusted now",
    { meta: { skipReason: `no ${lacks}` }, timeout: 240_000 },
    async () => {
      const work = await mkdtemp(join(tmpdir(), "pannier-signed-"));
      onTestFinished(() => rm(work, { recursive: true, force: true }));
      const place = await mkdtemp(join(work, "source-"));
      const { url, env = {}, write } = await make(servers, place);
      const [base = "", query = ""] = url.split("?");
      const page = `${base.replace(/\/$/, "")}/page?${query}`;
      const target = join(work, "target");
      const [ada, eve] = [await makeSigner(work, "ada"), await makeSigner(work, "eve")];
      const run = ({ publicKey }: Signer) =>
        runPannier(["sync", page, target, "--signed-by", `minisign:${publicKey}`], { env });
      const published = () => readFile(join(target, "current", "page"), "utf8");

      await write("one");
      const unsigned = await run(ada);
      expect(unsigned.code, describeOutcome(unsigned)).toBe(6);
      expect(unsigned.stderr).toContain("there is no .minisig beside it");

      await write(await ada.sign("one"), "page.minisig");
      const signed = await run(ada);
      expect(signed.code, describeOutcome(signed)).toBe(0);
      expect(await published()).toBe("one");

      await write("two, and longer");
      const tampered = await run(ada);
      expect(tampered.code, describeOutcome(tampered)).toBe(6);
      expect(await published()).toBe("one");

      // The key is rotated.
      await write(await eve.sign("two, and longer"), "page.minisig");
      expect((await run(ada)).code).toBe(6);
      expect(await published()).toBe("one");
      const rotated = await run(eve);
      expect(rotated.code, describeOutcome(rotated)).toBe(0);
      expect(await published()).toBe("two, and longer");
    },
  );
});
