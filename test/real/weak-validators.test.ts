/**
 * Stores whose listings have no ETags: rclone's server of S3 over a remote without digests, and versitygw over files that it did not
 * write. A change of equal size has to be seen all the same. And rclone's own server of WebDAV.
 */
import type { ChildProcess } from "node:child_process";
import { mkdir, mkdtemp, readFile, rm, utimes, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, describe, expect, test } from "vitest";
import { runPannier } from "../support/pannier.ts";
import { end, findProgram, listening, run, until } from "./servers/process.ts";

const KEYS = { id: "AKIAPANNIERWEAKTESTS", secret: "a-secret-of-these-tests" };
const SIGNED_IN = {
  AWS_ACCESS_KEY_ID: KEYS.id,
  AWS_SECRET_ACCESS_KEY: KEYS.secret,
  AWS_EC2_METADATA_DISABLED: "true",
};
const rclone = findProgram("rclone");
const versitygw = findProgram("versitygw");

const folders: string[] = [];
const children: ChildProcess[] = [];
afterAll(async () => {
  await Promise.all(children.map(end));
  for (const path of folders) await rm(path, { recursive: true, force: true });
});

async function folder(): Promise<string> {
  const path = await mkdtemp(join(tmpdir(), "pannier-weak-"));
  folders.push(path);
  return path;
}

async function serve(name: string, program: string, args: (port: number) => string[]) {
  const { child, ports } = await listening(name, 1, async ([port]) =>
    run(program, args(port as number), { quiet: true }),
  );
  children.push(child);
  return ports[0] as number;
}

/**
 * Syncs, changes the file so that nothing but its time gives it away, and syncs until that is published.
 *
 * @param file where the server has it
 * @returns what was published, one after the other
 */
async function published(
  url: string,
  file: string,
  env: Record<string, string> = {},
): Promise<Set<string>> {
  const target = await folder();
  const found = new Set<string>();
  const sync = async () => {
    const { code, stderr } = await runPannier(["sync", url, target], { env });
    if (code !== 0) throw new Error(stderr);
    const text = await readFile(join(target, "current/a.txt"), "utf8");
    found.add(text);
    return text;
  };
  await sync();
  await sync();
  await writeFile(file, "HELLO\n");
  // Servers keep directories in memory for a while.
  await until("the change", async () => (await sync()) === "HELLO\n");
  return found;
}

const BOTH = new Set(["hello\n", "HELLO\n"]);

async function content(path: string): Promise<string> {
  const file = join(path, "a.txt");
  await writeFile(file, "hello\n");
  const old = new Date(Date.now() - 86_400_000);
  await utimes(file, old, old);
  return file;
}

const CACHE = ["--dir-cache-time", "1s", "--config", "/dev/null"];

async function serveDav(root: string): Promise<number> {
  return serve("rclone serve webdav", rclone as string, (port) => [
    "serve",
    "webdav",
    root,
    "--addr",
    `127.0.0.1:${port}`,
    ...CACHE,
  ]);
}

describe.skipIf(rclone === undefined)("rclone", { meta: { skipReason: "no rclone" } }, () => {
  test("serves WebDAV: a change of equal size is seen", async () => {
    const root = await folder();
    const file = await content(root);
    expect(await published(`dav://127.0.0.1:${await serveDav(root)}/`, file)).toEqual(BOTH);
  });

  test("serves S3 from a remote without digests, with empty ETags: a change of equal size is seen", async () => {
    const root = await folder();
    await mkdir(join(root, "bucket"));
    const file = await content(join(root, "bucket"));
    const dav = await serveDav(root);
    const port = await serve("rclone serve s3", rclone as string, (own) => [
      "serve",
      "s3",
      `:webdav,url='http://127.0.0.1:${dav}':`,
      "--addr",
      `127.0.0.1:${own}`,
      "--auth-key",
      `${KEYS.id},${KEYS.secret}`,
      ...CACHE,
    ]);
    const url = `s3://bucket/?endpoint=http://127.0.0.1:${port}&region=us-east-1`;
    expect(await published(url, file, SIGNED_IN)).toEqual(BOTH);
  });
});

describe.skipIf(versitygw === undefined)(
  "versitygw",
  { meta: { skipReason: "no versitygw" } },
  () => {
    test("serves files that it did not write, without ETags: a change of equal size is seen", async () => {
      const root = await folder();
      await mkdir(join(root, "bucket"));
      const file = await content(join(root, "bucket"));
      const port = await serve("versitygw", versitygw as string, (own) => [
        "--port",
        `127.0.0.1:${own}`,
        "--quiet",
        "--access",
        KEYS.id,
        "--secret",
        KEYS.secret,
        "posix",
        root,
      ]);
      const url = `s3://bucket/?endpoint=http://127.0.0.1:${port}&region=us-east-1&pathStyle=true`;
      expect(await published(url, file, SIGNED_IN)).toEqual(BOTH);
    });
  },
);
