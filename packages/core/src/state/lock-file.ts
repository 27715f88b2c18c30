/** An exclusive lock that SQLite holds on a file of its own, which the kernel frees when the process dies, however it dies. */
import { DatabaseSync } from "./sqlite.ts";

/**
 * Locks a file, which is made where it is missing.
 *
 * @returns what frees it
 * @throws an error of SQLite's, which {@link isLocked} tells from others where somebody holds it
 */
export function lockFile(file: string): () => void {
  const db = new DatabaseSync(file, { timeout: 0 });
  try {
    db.exec("BEGIN EXCLUSIVE");
    return () => db.close();
  } catch (error) {
    db.close();
    throw error;
  }
}

/** Whether {@link lockFile} failed as somebody else holds the file. */
export function isLocked(error: unknown): boolean {
  return /locked|busy/i.test((error as Error).message);
}
