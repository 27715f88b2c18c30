/** What a tree holds that users should know of: FIFOs, sockets and devices, which are left out, and the like. */
import { quotePath } from "@pannier/core/adapter";

/** What one listing has to tell of. */
export interface LeftOut {
  /** Called once for each path. */
  add(path: string): void;
  /** After the whole listing: warns, once in the life of a source. */
  tell(): void;
}

/**
 * Makes what warns of it, once in the life of a source. Only what the source positively calls one of these may be left out.
 *
 * @param what stands before the first path
 * @returns to be called at the beginning of each listing
 */
export function leftOutWarning(
  warn: (message: string) => void,
  what = "left out a FIFO, a socket or a device",
): () => LeftOut {
  let warned = false;
  return () => {
    let first: string | undefined;
    let count = 0;
    return {
      add(path) {
        first ??= path;
        count++;
      },
      tell() {
        if (first === undefined || warned) return;
        warned = true;
        const more = count > 1 ? ` and ${count - 1} more` : "";
        warn(`${what}: ${quotePath(first)}${more}`);
      },
    };
  };
}
