export * from "./fingerprint.ts";
export { makeFloor } from "./floor.ts";
export { type LeftOut, leftOutWarning } from "./left-out.ts";
export { checkUnicode } from "./names.ts";
export { type DirectoryItem, MOST_NAMES, tooManyNames, type Walk, walk } from "./walk.ts";
