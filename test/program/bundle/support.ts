/** Bundles, made by the program and run as it is in an image: with nothing of this checkout around them. */
import { execFile, spawn } from "node:child_process";
import { createHash } from "node:crypto";
import { mkdtemp, readdir, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join, relative } from "node:path";
import { fileURLToPath } from "node:url";
import { afterAll, onTestFinished } from "vitest";
import { COMPILE_CACHE, FROM_SOURCES } from "../../support/from-sources.ts";

export const CHECKOUT = fileURLToPath(new URL("../../..", import.meta.url));

export interface Outcome {
  readonly code: number;
  readonly stdout: string;
  readonly stderr: string;
}

export async function makeTemporary(): Promise<string> {
  const directory = await mkdtemp(join(tmpdir(), "pannier-bundle-"));
  onTestFinished(() => rm(directory, { recursive: true, force: true }));
  return directory;
}

function execute(args: readonly string[], cwd: string): Promise<Outcome> {
  return new Promise((done) => {
    const env = { PATH: process.env["PATH"], HOME: "/nonexistent", ...COMPILE_CACHE };
    execFile(process.execPath, args, { cwd, env }, (error, stdout, stderr) =>
      done({ code: error === null ? 0 : Number(error.code), stdout, stderr }),
    );
  });
}

/** `pannier bundle`, of this checkout or of another; `node` are options of Node's. */
export function runBundler(
  args: readonly string[],
  cwd: string,
  checkout = CHECKOUT,
  node: readonly string[] = [],
) {
  const program = join(checkout, "packages/cli/src/bin.ts");
  return execute([...FROM_SOURCES, ...node, program, "bundle", ...args], cwd);
}

const made = new Map<string, Promise<string>>();
afterAll(async () => {
  for (const directory of made.values()) await rm(await directory, { recursive: true });
});

/** The directory of a bundle that is not to be changed: equal ones are made once. */
export function bundleOf(...adapters: string[]): Promise<string> {
  const list = adapters.join(",");
  const making = made.get(list) ?? makeBundle(list);
  made.set(list, making);
  return making;
}

async function makeBundle(list: string): Promise<string> {
  const out = await mkdtemp(join(tmpdir(), "pannier-bundle-"));
  const args = ["--adapters", list, "--out", out];
  const { code, stderr } = await runBundler(args, import.meta.dirname);
  if (code !== 0) throw new Error(stderr);
  return out;
}

/** Runs the program of a bundle. */
export function runBundle(bundle: string, args: readonly string[], cwd: string): Promise<Outcome> {
  return execute([join(bundle, "bin/pannier.js"), ...args], cwd);
}

export function startBundle(bundle: string, args: readonly string[], cwd: string) {
  const child = spawn(process.execPath, [join(bundle, "bin/pannier.js"), ...args], {
    cwd,
    env: { PATH: process.env["PATH"], HOME: "/nonexistent" },
    stdio: ["ignore", "ignore", "pipe"],
  });
  onTestFinished(() => void child.kill("SIGKILL"));
  return child;
}

/** Path → digest of each file. */
export async function digests(directory: string): Promise<Record<string, string>> {
  const entries = await readdir(directory, { recursive: true, withFileTypes: true });
  const files = entries
    .filter((entry) => entry.isFile())
    .map(({ parentPath, name }) => relative(directory, join(parentPath, name)));
  const pairs = files.toSorted().map(async (file) => {
    const content = await readFile(join(directory, file));
    return [file, createHash("sha256").update(content).digest("hex")] as const;
  });
  return Object.fromEntries(await Promise.all(pairs));
}
