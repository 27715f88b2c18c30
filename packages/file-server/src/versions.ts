/** The version of a file that was listed, and the part of it that is asked for. */
import { type ByteRange, type FileEntry, quotePath, SourceError } from "@pannier/core/adapter";

/** @returns where the part begins and ends, within the size that was listed */
export function clampRange(
  { size = 0 }: FileEntry,
  range: ByteRange | undefined,
): { readonly from: number; readonly to: number } {
  const from = Math.min(range?.offset ?? 0, size);
  return { from, to: Math.min(from + (range?.length ?? Infinity), size) };
}

export function changedSinceListed({ path }: FileEntry): SourceError {
  return new SourceError("changed", `${quotePath(path)} is not the version that was listed`);
}
