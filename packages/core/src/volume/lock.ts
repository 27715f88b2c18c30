/** One process at a time on a target. */
import { TargetError } from "../errors.ts";
import { asNoRoom } from "./room.ts";
import { isBroken } from "../state/damaged.ts";
import { isLocked, lockFile } from "../state/lock-file.ts";
import { removeFile } from "./files.ts";

/**
 * Takes the target's lock: an exclusive lock that SQLite holds on a file of its own, which the kernel frees when the
 * process dies, however it dies. (Node has no flock of its own; a file with a process id in it can be stale.)
 *
 * @returns what frees it
 * @throws TargetError when another process, or another mount of this one, holds it
 */
export function takeLock(file: string, target: string): () => void {
  try {
    return lockFile(file);
  } catch (error) {
    if (isBroken(error)) {
      // Nobody holds what is not a database.
      removeFile(file);
      return lockFile(file);
    }
    if (isLocked(error)) {
      throw new TargetError(`another Pannier is at work on ${target}`, {
        hint: "stop it, wait for it, or choose another target",
        busy: true,
        cause: error,
      });
    }
    throw asNoRoom(error) ?? error;
  }
}
