export { type ArchiveSourceInit, archiveSource, type LocatedArchive } from "./archive.ts";
export { besideUrl } from "./beside.ts";
export {
  type Checksum,
  type ChecksumOption,
  findChecksum,
  parseChecksum,
  parseChecksumLine,
  readChecksumFile,
  resolveChecksum,
  verified,
} from "./checksum.ts";
export { createDigestReader } from "./digest.ts";
export { archiveOptions } from "./options.ts";
export { undecidedSource } from "./undecided.ts";
