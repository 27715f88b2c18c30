/** One process at a time on a target. */
import { DatabaseSync } from "node:sqlite";
import { TargetError } from "../errors.ts";

/**
 * Takes the target's lock: an exclusive lock that SQLite holds on a file of its own, which the kernel frees when the
 * process dies, however it dies. (Node has no flock of its own; a file with a process id in it can be stale.)
 *
 * @returns what frees it
 * @throws TargetError when another process, or another mount of this one, holds it
 */
export function takeLock(file: string, target: string): () => void {
  const db = new DatabaseSync(file, { timeout: 0 });
  try {
    db.exec("PRAGMA journal_mode = OFF; BEGIN EXCLUSIVE");
  } catch (error) {
    db.close();
    if (/locked|busy/i.test((error as Error).message)) {
      throw new TargetError(`another Pannier is at work on ${target}`, {
        hint: "stop it, wait for it, or choose another target",
        cause: error,
      });
    }
    throw error;
  }
  return () => db.close();
}
