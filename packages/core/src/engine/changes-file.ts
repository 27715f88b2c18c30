/** The file that tells a hook what a revision changed. */
import { closeSync, openSync, writeFileSync } from "node:fs";
import type { ChangedPath } from "./changes.ts";
import { plainOrQuoted } from "../snapshot/path.ts";

/** A change in one letter, as git has it. */
export const CHANGE_LETTERS = { added: "A", changed: "M", deleted: "D" } as const;

/** Characters that are written at once. */
const BATCH = 1 << 16;

/**
 * Writes a line for each change: the letter, a tab, the path; quoted where it would not be one line.
 *
 * @param file is made, and must not exist yet
 */
export function writeChanges(file: string, changes: Iterable<ChangedPath>): void {
  const out = openSync(file, "wx");
  try {
    // Not `writeSync`, which may write less than it was given, and says so only in its result.
    let lines = "";
    for (const { change, path } of changes) {
      lines += `${CHANGE_LETTERS[change]}\t${plainOrQuoted(path)}\n`;
      if (lines.length < BATCH) continue;
      writeFileSync(out, lines);
      lines = "";
    }
    writeFileSync(out, lines);
  } finally {
    closeSync(out);
  }
}
