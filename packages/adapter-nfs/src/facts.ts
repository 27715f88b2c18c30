/** What libnfs tells of a file. */
import { constants } from "node:fs";
import type { Stat } from "./libnfs.ts";
import type { Facts, Kind } from "./protocol.ts";
import { failed } from "./problem.ts";

/** `undefined` for what is not told, or not known. */
export function kindOf(mode: number): Kind | undefined {
  switch (mode & constants.S_IFMT) {
    case constants.S_IFREG:
      return "file";
    case constants.S_IFDIR:
      return "directory";
    case constants.S_IFLNK:
      return "symlink";
    case constants.S_IFIFO:
    case constants.S_IFSOCK:
    case constants.S_IFCHR:
    case constants.S_IFBLK:
      return "special";
    default:
      return undefined;
  }
}

export function toFacts({ mode, size, mtime, mtime_nsec }: Stat): Facts {
  const bits = Number(mode);
  const kind = kindOf(bits);
  if (kind === undefined) throw failed("untold", 0);
  return {
    kind,
    mode: bits & 0o7777,
    size: Number(size),
    seconds: Number(BigInt.asIntN(64, BigInt(mtime))),
    nanoseconds: Number(mtime_nsec),
  };
}
