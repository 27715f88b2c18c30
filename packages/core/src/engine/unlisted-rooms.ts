/** Room for files of a plan whose sizes are not listed. */
import type { PlannedRow } from "../state/plan.ts";
import type { PublishedRow } from "../state/row.ts";
import { openUnlistedRoom, type UnlistedRoom } from "../transfer/unlisted-room.ts";

export interface UnlistedRooms {
  of(row: PublishedRow): UnlistedRoom;
  /** Gives back what was taken for a file beyond what it takes of the tree now that it is there, or is not fetched after all. */
  settle(row: PublishedRow, taken: number, size: number): void;
}

/** @param listed bytes of the tree as far as listings tell them */
export function openUnlistedRooms(maxBytes: number, listed: number): UnlistedRooms {
  const fetched = openUnlistedRoom(maxBytes, listed);
  // The published tree has them, and most stay as they are: they take room while they are read.
  const reread = openUnlistedRoom(maxBytes, 0);
  const of = (row: PublishedRow) => (isReread(row) ? reread : fetched);
  return {
    of,
    settle(row, taken, size) {
      if (row.size === null) of(row).giveBack(isReread(row) ? taken : taken - size);
    },
  };
}

function isReread(row: PublishedRow): boolean {
  return (row as Partial<PlannedRow>).change === "touched";
}
