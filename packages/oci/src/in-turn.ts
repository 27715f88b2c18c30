/** One process after the other, on this machine. */
import { setTimeout as sleep } from "node:timers/promises";
import { isLocked, lockFile, SourceError } from "@pannier/core/adapter";

/** Milliseconds that others may take: it is a small file that is written. */
const PATIENCE = 60_000;
const PAUSE = 20;

/**
 * Does something while nobody else does it who asks with the same file, which is made. A file system that has no locks keeps nobody out.
 *
 * @throws SourceError `unavailable` where somebody else does not end
 */
export async function inTurn<Result>(
  file: string,
  signal: AbortSignal,
  work: () => Promise<Result>,
): Promise<Result> {
  const free = await takeTurn(file, signal);
  try {
    return await work();
  } finally {
    free();
  }
}

async function takeTurn(file: string, signal: AbortSignal): Promise<() => void> {
  for (let waited = 0; ; waited += PAUSE) {
    try {
      return lockFile(file);
    } catch (error) {
      if (!isLocked(error)) return () => {};
      if (waited >= PATIENCE) {
        throw new SourceError("unavailable", `another process does not free ${file}`, {
          hint: "wait for it, or end it",
        });
      }
    }
    await sleep(PAUSE, undefined, { signal });
  }
}
