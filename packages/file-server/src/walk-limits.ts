/** How much a walk takes from a server, and what it says of more. */
import { quotePath, SourceError } from "@pannier/core/adapter";

/** Names that may be held of one directory and of those above it: some 200 MB. */
export const MOST_NAMES = 400_000;

/** Characters of a name, and the target of a symlink, on the average: what is more counts as more names. */
const LONG = 100;

/** Of a path in bytes. The engine takes less, but is asked about files only. */
const LONGEST_PATH = 4096;

/** Directories one after the other without anything in them to publish: a tree without end is made of those. */
export const MOST_EMPTY = 100_000;

/** Long names count more than once. */
export function weightOf(names: number, characters: number): number {
  return Math.max(names, characters / LONG);
}

/** Why a directory is not taken. */
export function tooManyNames(prefix: string): SourceError {
  const most = MOST_NAMES.toLocaleString("en");
  return new SourceError(
    "invalid",
    `${quotePath(prefix || "/")}, with the directories above it, holds more than ${most} names`,
    { hint: "spread them over more directories, or take a directory below it as the source" },
  );
}

export function checkDepth(prefix: string): void {
  if (prefix.length * 3 <= LONGEST_PATH || Buffer.byteLength(prefix) <= LONGEST_PATH) return;
  throw new SourceError(
    "invalid",
    `a directory's path is longer than ${LONGEST_PATH.toLocaleString("en")} bytes: ${quotePath(prefix)}`,
    { hint: "a directory may hold itself, or the server makes directories up: exclude it" },
  );
}

export function endless(prefix: string): SourceError {
  return new SourceError(
    "invalid",
    `${MOST_EMPTY.toLocaleString("en")} directories, one after the other, hold nothing: the last one is ${quotePath(prefix)}`,
    { hint: "the server may make them up; take a directory below as the source" },
  );
}

/** What would be another path than the one that is walked. All else is the engine's to judge. */
export function checkName(name: string, prefix: string): void {
  if (name !== "" && name !== "." && name !== ".." && !/[/\0]/.test(name)) return;
  throw new SourceError(
    "invalid",
    `the server lists an invalid name: ${quotePath(name)} in ${quotePath(prefix || "/")}`,
  );
}
