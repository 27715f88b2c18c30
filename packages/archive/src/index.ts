export { guarded, limitError } from "./errors.ts";
export { createExpansionGuard, ExpansionError } from "./expansion.ts";
export { decompress, formatOf, isProgram, looksLikeArchive, MAGIC_LENGTH, peek } from "./format.ts";
export { type Member, refuseKind, segmentsOf, unreadable } from "./member.ts";
export { readExtent } from "./read-extent.ts";
export {
  type Content,
  createScratch,
  type Extent,
  type Scratch,
  type Unpacked,
  writeAll,
  writeStream,
} from "./scratch.ts";
export { readTar } from "./tar.ts";
export { createMeter, unpack, type UnpackInit } from "./unpack.ts";
export { readZip } from "./zip.ts";
export { TAR_END, tarHeader, type TarMember, tarPadding } from "./tar-write.ts";
