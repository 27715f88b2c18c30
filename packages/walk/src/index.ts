export { type DirectoryItem, type Walk, walk } from "./walk.ts";
