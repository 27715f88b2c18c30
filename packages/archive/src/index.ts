export { guarded, limitError } from "./errors.ts";
export { createExpansionGuard } from "./expansion.ts";
export { decompress, formatOf, isProgram, looksLikeArchive, MAGIC_LENGTH } from "./format.ts";
export type { Member } from "./member.ts";
export { readPlace } from "./read-place.ts";
export { type Place, type Unpacked, writeAll, writeStream } from "./scratch.ts";
export { readTar } from "./tar.ts";
export { unpack } from "./unpack.ts";
export { readZip } from "./zip.ts";
