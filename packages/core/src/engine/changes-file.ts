/** The file that tells a hook what a revision changed. */
import { closeSync, writeFileSync } from "node:fs";
import type { ChangedPath } from "./changes.ts";
import { makePause } from "../timing/slices.ts";
import { plainOrQuoted } from "../source/path.ts";

/** A change in one letter, as git has it. */
export const CHANGE_LETTERS = { added: "A", changed: "M", deleted: "D" } as const;

/** Characters that are written at once. */
const BATCH = 1 << 16;

/**
 * Writes a line for each change: the letter, a tab, the path; quoted where it would not be one line.
 *
 * @param file an open one, which is closed: whatever becomes of its name meanwhile, it is this one
 */
export async function writeChanges(file: number, changes: Iterable<ChangedPath>): Promise<void> {
  const pause = makePause();
  try {
    // Not `writeSync`, which may write less than it was given, and says so only in its result.
    let lines = "";
    for (const { change, path } of changes) {
      await pause();
      lines += `${CHANGE_LETTERS[change]}\t${plainOrQuoted(path)}\n`;
      if (lines.length < BATCH) continue;
      writeFileSync(file, lines);
      lines = "";
    }
    writeFileSync(file, lines);
  } finally {
    closeSync(file);
  }
}
