/** An exclusive lock that SQLite holds on a file of its own, which the kernel frees when the process dies, however it dies. */
import { DatabaseSync } from "./sqlite.ts";

/**
 * @returns what frees it
 * @throws an error of SQLite's: "database is locked" where somebody holds it
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
