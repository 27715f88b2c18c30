/** Packages with native code: copied as they are, with what they need. */
import { cp } from "node:fs/promises";
import { createRequire } from "node:module";
import { dirname, join } from "node:path";
import { UsageError } from "@pannier/core";
import type { BundledAdapter } from "./adapters.ts";
import { type Manifest, manifestOf, type Module } from "./packages.ts";

/** @returns the packages, as modules of the bundle */
export async function copyNative(
  adapters: readonly BundledAdapter[],
  target: string,
): Promise<readonly Module[]> {
  const found = new Map<string, Module>();
  for (const { entry, native } of adapters) {
    for (const name of native) {
      const manifest = await findPackage(name, entry);
      if (manifest === undefined)
        throw new UsageError(`the package ${name} is not installed`, "install it, then try again");
      await copy(manifest, target, found);
    }
  }
  return [...found.values()];
}

/** One version of each: what has native code is not there twice. */
async function copy(manifest: Manifest, target: string, found: Map<string, Module>): Promise<void> {
  const { name, directory, dependencies = {}, optionalDependencies = {} } = manifest;
  if (found.has(name)) return;
  const imports: string[] = [];
  found.set(name, { path: join(directory, "package.json"), imports });
  await cp(directory, join(target, name), {
    recursive: true,
    filter: (path) => path !== join(directory, "node_modules"),
  });
  for (const needed of Object.keys({ ...dependencies, ...optionalDependencies }).toSorted()) {
    // Of those for other systems none is there.
    const other = await findPackage(needed, join(directory, "package.json"));
    if (other === undefined) continue;
    imports.push(join(other.directory, "package.json"));
    await copy(other, target, found);
  }
}

/** As Node looks for a package, but for its directory: not every package tells its manifest. */
export async function findPackage(name: string, from: string): Promise<Manifest | undefined> {
  for (const directory of createRequire(from).resolve.paths(name) ?? []) {
    const path = join(directory, name, "package.json");
    const manifest = await manifestOf(path).catch(() => undefined);
    if (manifest?.name === name && manifest.directory === dirname(path)) return manifest;
  }
  return undefined;
}
