/** What a lock file says. */
import { readFileSync } from "node:fs";
import { UsageError } from "../source/errors.ts";

/** One layer in the file. */
export interface LockedLayer {
  /** Redacted. */
  readonly source: string;
  readonly into: string;
  /** Empty where the source names none. */
  readonly revision: string;
  /** Of what the tree shows of the layer: paths, contents, targets of links, and which files are executable. */
  readonly digest: string;
}

/** @throws UsageError where it cannot be read */
export function readLock(file: string): readonly LockedLayer[] {
  let text: string;
  try {
    text = readFileSync(file, "utf8");
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    throw new UsageError(
      `the lock file ${file} cannot be read (${code})`,
      "a sync without --locked writes it",
      { cause: error },
    );
  }
  try {
    const { version, layers } = JSON.parse(text) as { version: unknown; layers: LockedLayer[] };
    if (version === 1 && layers.every(isLockedLayer)) return layers;
  } catch {
    // As below.
  }
  throw new UsageError(`${file} is not a lock file`, "a sync without --locked writes it again");
}

function isLockedLayer(layer: Partial<LockedLayer>): boolean {
  const { source, into, revision, digest } = layer;
  return [source, into, revision, digest].every((part) => typeof part === "string");
}

/** The revision that a source is locked at; `undefined` where the file does not say: what is published is compared with it in any case. */
export function lockedRevision(
  file: string,
  position: number,
  { url, into }: { readonly url: string; readonly into: string },
): string | undefined {
  let layer: LockedLayer | undefined;
  try {
    layer = readLock(file)[position];
  } catch {
    return undefined;
  }
  const isOfThis = layer?.source === url && layer.into === into && layer.revision !== "";
  return isOfThis ? layer?.revision : undefined;
}
