export { isExposed, parseEndpoint } from "./endpoint.ts";
export {
  listObjects,
  type ListObjectsPage,
  locate,
  type ObjectsInit,
  type Root,
  rootOf,
  type StoredObject,
} from "./objects.ts";
export { type KeyRange, type Page } from "./ordered-pages.ts";
export { readObject } from "./read.ts";
export { type Renewed, renewed } from "./renewed.ts";
