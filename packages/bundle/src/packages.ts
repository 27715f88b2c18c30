/** From the modules of a bundle to the packages that they are of. */
import { readFile } from "node:fs/promises";
import { dirname, join } from "node:path";
import { UsageError } from "@pannier/core";

export interface Manifest {
  readonly name: string;
  readonly version: string;
  readonly type?: string;
  readonly license?: string | { readonly type: string };
  readonly dependencies?: Readonly<Record<string, string>>;
  readonly optionalDependencies?: Readonly<Record<string, string>>;
  readonly pannier?: Readonly<Record<string, unknown>>;
  /** Where it lies. */
  readonly directory: string;
}

/** A file of the bundle, and those that it needs. */
export interface Module {
  readonly path: string;
  readonly imports: readonly string[];
}

/** A package that is in the bundle. */
export interface Package {
  readonly name: string;
  readonly version: string;
  /** As the package says it: an SPDX expression where it says it well. */
  readonly licence: string | undefined;
  readonly directory: string;
  /** The packages that modules of this one import, by their `name@version`. */
  readonly uses: readonly string[];
}

/** The packages of these modules, each version of each once, in the order of their names. */
export async function packageGraph(modules: readonly Module[]): Promise<readonly Package[]> {
  const manifests = new Map<string, Manifest>();
  for (const { path } of modules) manifests.set(path, await manifestOf(path));
  const found = new Map<string, Package & { readonly uses: string[] }>();
  for (const { path, imports } of modules) {
    const manifest = manifests.get(path) as Manifest;
    const { name, version, directory } = manifest;
    const entry = found.get(idOf(manifest)) ?? {
      name,
      version,
      licence: typeof manifest.license === "object" ? manifest.license.type : manifest.license,
      directory,
      uses: [],
    };
    found.set(idOf(manifest), entry);
    for (const imported of imports) {
      const other = manifests.get(imported);
      if (other === undefined || idOf(other) === idOf(manifest)) continue;
      if (!entry.uses.includes(idOf(other))) entry.uses.push(idOf(other));
    }
  }
  return [...found.entries()]
    .toSorted(([a], [b]) => (a < b ? -1 : 1))
    .map(([, entry]) => ({ ...entry, uses: entry.uses.toSorted() }));
}

export function idOf({ name, version }: { readonly name: string; readonly version: string }) {
  return `${name}@${version}`;
}

const cache = new Map<string, Promise<Manifest | undefined>>();

/** The manifest of the package that a file is of. One without a name only says how the files beside it are to be read. */
export async function manifestOf(path: string): Promise<Manifest> {
  for (let directory = dirname(path); directory !== dirname(directory);) {
    const manifest = await read(directory);
    if (manifest?.name !== undefined && manifest.version !== undefined) return manifest;
    directory = dirname(directory);
  }
  throw new UsageError(
    `${path} is of no package`,
    "put a package.json with a name and a version beside it: the bill of materials lists it by these",
  );
}

function read(directory: string): Promise<Manifest | undefined> {
  const known = cache.get(directory);
  if (known !== undefined) return known;
  const reading = readFile(join(directory, "package.json"), "utf8").then(
    (text) => ({ ...(JSON.parse(text) as Manifest), directory }),
    (error: NodeJS.ErrnoException) => {
      if (error.code === "ENOENT" || error.code === "ENOTDIR") return undefined;
      throw error;
    },
  );
  cache.set(directory, reading);
  return reading;
}
