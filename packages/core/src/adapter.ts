/**
 * What an adapter is written with: the contract, its errors, and what adapters would otherwise each write for themselves. Programs that
 * embed Pannier import `@pannier/core`.
 */
export type * from "./lane/contract.ts";
export * from "./source/contract.ts";
export * from "./source/errors.ts";
export { InternalError, NoRoomError, saysFull } from "./errors.ts";
export type { OptionSpec, OptionSpecs, OptionValues } from "./source/options.ts";
export { decodedPath, type Location, parseLocation } from "./source/location.ts";
export { sourceFactory } from "./source/registry.ts";
export { readCredentialFile, readSecret, readToken } from "./source/secrets.ts";
export { readTrusted } from "./source/signers.ts";
export { comparePaths, quotePath } from "./source/path.ts";
export { nearest } from "./source/nearest.ts";
export { largeReads } from "./source/large-reads.ts";
export { releaseAfterUse } from "./source/release-after-use.ts";
export { makePause, type Pause, sortInSlices } from "./timing/slices.ts";
export { isLocked, lockFile } from "./state/lock-file.ts";
export { DatabaseSync } from "./state/sqlite.ts";
export { untilAborted } from "./timing/sleep.ts";
export { createPace, type Pace } from "./transfer/pace.ts";
