export * from "./fingerprint.ts";
export { type LeftOut, leftOutWarning } from "./left-out.ts";
export { unicodeProblem } from "./names.ts";
export { type Root, treeSource, type TreeServer } from "./tree-source.ts";
export { changedSinceListed, clampRange } from "./versions.ts";
export { type DirectoryItem, failedItem } from "./directory-item.ts";
export { type Walk, walk } from "./walk.ts";
export { MOST_NAMES, tooManyNames } from "./walk-limits.ts";
