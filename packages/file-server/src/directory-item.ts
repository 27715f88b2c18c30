/** What a directory of a server holds, before it is an entry. */
import type { Entry } from "@pannier/core/adapter";

/** What a directory holds under one name. The name is that of the last segment only, exactly as the server has it. */
export type DirectoryItem =
  | {
      readonly name: string;
      readonly kind: "directory";
      /** Why it cannot be entered, if its name alone tells that: thrown where it should be. */
      readonly failure?: unknown;
    }
  /** Made into an entry when its turn comes, so that names that wait for theirs cost little. It may throw: what is not wanted is not made. */
  | { readonly name: string; readonly kind: "entry"; readonly entry: (path: string) => Entry }
  /** What the server calls a FIFO, a socket or a device, and nothing else: it is left out. */
  | { readonly name: string; readonly kind: "special" }
  /** What it is could not be told, which fails the listing where it may be wanted. */
  | { readonly name: string; readonly kind: "unknown"; readonly failure: unknown }
  /** The server listed it, and then said that it does not exist. It is left out once another look no longer lists it. */
  | { readonly name: string; readonly kind: "gone" };

/** A file or symlink that fails the listing where it is wanted. */
export function failedItem(name: string, failure: unknown): DirectoryItem {
  return {
    kind: "entry",
    name,
    entry() {
      throw failure;
    },
  };
}
