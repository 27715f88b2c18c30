/**
 * A program of chosen adapters: the command line and the engine, and of the packages that they are made of only what is used.
 *
 * It is laid out as the program's own package is (`bin/`, `dist/`, `package.json`), so that the same launcher starts it.
 */
import { existsSync } from "node:fs";
import { mkdir, readdir, readFile, rm, writeFile } from "node:fs/promises";
import { dirname, join } from "node:path";
import { UsageError } from "@pannier/core";
import { type BundledAdapter, findAdapters } from "./adapters.ts";
import { compile } from "./compile.ts";
import { licenceTexts } from "./licences.ts";
import { copyNative, findPackage } from "./native.ts";
import { packageGraph } from "./packages.ts";
import { makeSbom, PROGRAM } from "./sbom.ts";

export interface BundleRequest {
  /** Packages, or paths that start with `.` or `/`. */
  readonly adapters: readonly string[];
  /** The directory to write. Replaced if it holds a bundle; otherwise it must be empty, or not there. */
  readonly out: string;
  /** What paths are relative to, and where packages are looked for that are not beside the program. */
  readonly cwd: string;
  /** The directory of the program's modules, sources or built; its package is the directory above. */
  readonly program: string;
}

export interface Bundle {
  readonly out: string;
  readonly adapters: readonly BundledAdapter[];
  /** Packages of Debian (with `|` between alternatives) and of Alpine that must be installed beside it. */
  readonly debian: readonly string[];
  readonly alpine: readonly string[];
  /** Of the compiled program, without native packages and what is told about it. */
  readonly files: number;
  readonly bytes: number;
  /** Packages that are in it. */
  readonly components: number;
}

const SBOM = "sbom.cdx.json";
/** All that a bundle has at its top. */
const NAMES: ReadonlySet<string> = new Set([
  "bin",
  "dist",
  "assets",
  "node_modules",
  "package.json",
  "packages.debian",
  "packages.alpine",
  "LICENSES.txt",
  SBOM,
]);

/**
 * Equal packages at equal places to each other make equal bytes with the same Node, wherever they lie.
 *
 * @throws UsageError for an adapter that is not there or is none, or a directory that holds something else
 */
export async function bundle({ adapters, out, cwd, program }: BundleRequest): Promise<Bundle> {
  const chosen = await findAdapters(adapters, { cwd, program });
  const { files, modules } = await compile(chosen, program);
  await clear(out);
  const native = await copyNative(chosen, join(out, "node_modules"));
  const packages = await packageGraph([...modules, ...native]);
  const own = dirname(program);
  const { version, license } = JSON.parse(await readFile(join(own, "package.json"), "utf8")) as {
    readonly version: string;
    readonly license: string;
  };
  const debian = union(chosen.map((adapter) => adapter.debian));
  const alpine = union(chosen.map((adapter) => adapter.alpine));
  const told: Readonly<Record<string, string | Uint8Array>> = {
    "bin/pannier.js": await readFile(join(own, "bin/pannier.js")),
    "package.json": json({ name: PROGRAM, version, license, type: "module" }),
    "packages.debian": lines(debian),
    "packages.alpine": lines(alpine),
    "LICENSES.txt": await licenceTexts(packages),
    [SBOM]: json(makeSbom({ version, license }, packages)),
    ...(await commitOf(own)),
  };
  const compiled = files.map(({ name, content }) => [`dist/${name}`, content] as const);
  const assets = await dashboardAssets(join(own, "package.json"));
  for (const [name, content] of [...Object.entries(told), ...assets, ...compiled]) {
    await mkdir(dirname(join(out, name)), { recursive: true });
    // The program is started by its name, as from a link on the path.
    await writeFile(join(out, name), content, { mode: name.startsWith("bin/") ? 0o755 : 0o644 });
  }
  return {
    out,
    adapters: chosen,
    debian,
    alpine,
    files: files.length,
    bytes: files.reduce((sum, { content }) => sum + content.byteLength, 0),
    components: packages.length,
  };
}

/** What `pannier --version` tells besides the version: known to a program that was packed, not to one in a checkout. */
async function commitOf(program: string): Promise<Record<string, Uint8Array>> {
  const file = join(program, "dist/commit");
  return existsSync(file) ? { "dist/commit": await readFile(file) } : {};
}

/** What the sidecar sends to browsers is read from files, not imported. */
async function dashboardAssets(
  program: string,
): Promise<(readonly [name: string, content: Uint8Array])[]> {
  const daemon = await findPackage("@pannier/daemon", program);
  if (daemon === undefined) return [];
  const folder = join(daemon.directory, "assets");
  const names = (await readdir(folder)).toSorted();
  return Promise.all(
    names.map(async (name) => [`assets/${name}`, await readFile(join(folder, name))] as const),
  );
}

async function clear(out: string): Promise<void> {
  const names = await readdir(out).catch((error: NodeJS.ErrnoException): string[] => {
    if (error.code === "ENOENT") return [];
    if (error.code === "ENOTDIR") throw new UsageError(`"${out}" is not a directory`);
    throw error;
  });
  if (names.length > 0 && !(await isBundle(out, names)))
    throw new UsageError(
      `"${out}" holds something other than a bundle`,
      "name a directory that is empty, or not there",
    );
  for (const name of names) await rm(join(out, name), { recursive: true });
}

/** What is about to be deleted must be ours to the last name: others have a bill of materials as well. */
async function isBundle(directory: string, names: readonly string[]): Promise<boolean> {
  if (!names.every((name) => NAMES.has(name))) return false;
  try {
    const bill = JSON.parse(await readFile(join(directory, SBOM), "utf8")) as Bill | null;
    return bill?.metadata?.component?.name === PROGRAM;
  } catch {
    return false;
  }
}

interface Bill {
  readonly metadata?: { readonly component?: { readonly name?: unknown } };
}

function union(lists: readonly (readonly string[])[]): string[] {
  return [...new Set(lists.flat())].toSorted();
}

function lines(values: readonly string[]): string {
  return values.map((value) => `${value}\n`).join("");
}

function json(value: unknown): string {
  return `${JSON.stringify(value, undefined, 2)}\n`;
}
