export * from "./fingerprint.ts";
export { leftOutWarning } from "./left-out.ts";
export { checkUnicode } from "./names.ts";
export { type DirectoryItem, type Walk, walk } from "./walk.ts";
