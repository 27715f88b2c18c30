/** What an adapter needs beside its code, as its `package.json` says it under `pannier`. */
import { type Adapter, nearest, UsageError } from "@pannier/core";
import type { Manifest } from "./packages.ts";

export interface Needs {
  /** Schemes of URLs that may be meant for it, those that it only claims some of included (`https://host/x.git`). */
  readonly schemes: readonly string[];
  /** Packages of Debian with the programs and libraries that it makes use of. */
  readonly debian: readonly string[];
  /** The same, of Alpine. */
  readonly alpine: readonly string[];
  /** npm packages with native code, which cannot be compiled into one program and are put beside it. */
  readonly native: readonly string[];
  /** Modules that it starts as threads or processes, by name, without extension: they lie beside the one that exports it. */
  readonly threads: readonly string[];
}

const NONE: Omit<Needs, "schemes"> = { debian: [], alpine: [], native: [], threads: [] };

/** @throws UsageError where the declaration is wrong */
export function readNeeds(manifest: Manifest, adapter: Adapter): Needs {
  const needs = { ...NONE, schemes: adapter.schemes, ...manifest.pannier };
  const known = ["schemes", ...Object.keys(NONE)];
  for (const [key, value] of Object.entries(needs)) {
    if (!known.includes(key)) {
      const near = nearest(key, known);
      throw new UsageError(
        `the package.json of ${manifest.name} has an unknown key "pannier.${key}"`,
        near === undefined ? `known are ${known.join(", ")}` : `did you mean "${near}"?`,
      );
    }
    if (!Array.isArray(value) || value.some((one) => typeof one !== "string"))
      throw new UsageError(
        `"pannier.${key}" in the package.json of ${manifest.name} is not a list of names`,
      );
  }
  return needs;
}
