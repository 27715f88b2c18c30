/**
 * Moving what was committed from the log into the database. SQLite does it by itself, within the commit after which the log is long; with
 * many rows that takes as long as writing them to the disk, so then it is done in a thread of its own.
 */
import { statSync } from "node:fs";
import { extname } from "node:path";
import { Worker } from "node:worker_threads";

/** Bytes of a log that SQLite moves in some milliseconds. */
const LONG = 16 * 2 ** 20;

/** Waits until it is done. A failure is of no consequence: SQLite tries again. */
export async function moveLongLog(file: string): Promise<void> {
  const log = statSync(`${file}-wal`, { throwIfNoEntry: false });
  // SQLite makes a database where there is none.
  if (
    log === undefined ||
    log.size < LONG ||
    statSync(file, { throwIfNoEntry: false }) === undefined
  )
    return;
  // Beside this file, whether that is source, built, or bundled with the program.
  const script = new URL(`./checkpoint-worker${extname(import.meta.url)}`, import.meta.url);
  const { promise, resolve } = Promise.withResolvers<void>();
  try {
    new Worker(script, {
      workerData: file,
      execArgv: [
        ...process.execArgv.filter((argument) => argument === "--experimental-strip-types"),
        // Node 22 and 24 warn of node:sqlite.
        "--disable-warning=ExperimentalWarning",
      ],
    })
      .on("error", () => resolve())
      .on("exit", () => resolve());
  } catch {
    // The system has no room for a thread. What was committed is committed.
    return;
  }
  await promise;
}
