export type { FileCheck } from "./check.ts";
export { checkImageBundle, checkSimpleSigning } from "./cosign.ts";
export { FILE_SIGNATURES, type FileChecks, openFileChecks, type ReadBeside } from "./file-check.ts";
export { checkableFiles, signedFile } from "./signed-file.ts";
