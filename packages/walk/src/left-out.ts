/** What a tree holds that cannot be published: FIFOs, sockets, devices. */
import { quotePath } from "@pannier/core";

/** What one listing leaves out. */
export interface LeftOut {
  /** Called once for each path. */
  add(path: string): void;
  /** After the whole listing: warns, once in the life of a source. */
  tell(): void;
}

/**
 * Makes what warns of it, once in the life of a source. Only what the source positively calls one of these may be left out.
 *
 * @returns to be called at the beginning of each listing
 */
export function leftOutWarning(warn: (message: string) => void): () => LeftOut {
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
        warn(`left out what is a FIFO, a socket or a device: ${quotePath(first)}${more}`);
      },
    };
  };
}
