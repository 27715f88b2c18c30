/** Where entries are on this machine, and how they are opened. */
import { constants } from "node:fs";

/** Never blocks on a FIFO or device, never follows a link that was put in the file's place. */
export const FLAGS = constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK;

export interface SourceRoot {
  /** The source's root directory without a `/` at the end, or the file that is the source. */
  readonly root: string;
  readonly isFile: boolean;
}

/** Where an entry is on this machine. */
export function fullPath({ root, isFile }: SourceRoot, path: string): string {
  return isFile ? root : `${root}/${path}`;
}
