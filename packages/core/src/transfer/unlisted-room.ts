/** What `--max-bytes` leaves for files whose sizes no listing tells. It is counted as they come: one without an end would fill the volume. */
import { NoRoomError } from "../errors.ts";

export interface UnlistedRoom {
  has(bytes: number): boolean;
  /** @throws NoRoomError where that is more than is left */
  take(bytes: number): void;
  giveBack(bytes: number): void;
}

/** @param listed bytes of the tree as far as listings tell them */
export function openUnlistedRoom(maxBytes: number, listed: number): UnlistedRoom {
  let taken = listed;
  return {
    has: (bytes) => taken + bytes <= maxBytes,
    take(bytes) {
      taken += bytes;
      if (taken <= maxBytes) return;
      throw new NoRoomError(`the tree would have more than the ${maxBytes} bytes of --max-bytes`, {
        hint: "raise --max-bytes, or exclude some files",
      });
    },
    giveBack(bytes) {
      taken -= bytes;
    },
  };
}
