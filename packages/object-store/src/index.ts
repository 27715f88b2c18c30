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
