export * from "./fingerprint.ts";
export { type LeftOut, leftOutWarning } from "./left-out.ts";
export { unicodeProblem } from "./names.ts";
export { type Root, treeSource, type TreeServer } from "./tree-source.ts";
export { changedSinceListed, clampRange } from "./versions.ts";
export {
  type DirectoryItem,
  failedItem,
  MOST_NAMES,
  tooManyNames,
  type Walk,
  walk,
} from "./walk.ts";
