export { isExposed, parseEndpoint } from "./endpoint.ts";
export { checkMarker, markerVersion } from "./marker.ts";
export { locate, type Root } from "./locate.ts";
export {
  listObjects,
  type ListObjectsPage,
  type ObjectsInit,
  rootOf,
  type StoredObject,
} from "./objects.ts";
export { type KeyRange, type Page } from "./ordered-pages.ts";
export { readObject } from "./read.ts";
export { refusalText, throttled, withOtherKeys } from "./refusal.ts";
export { type Renewed, renewed } from "./renewed.ts";
export { askForKeys, SIGNING_IN } from "./sign-in.ts";
export {
  laneBeside,
  type ListedObject,
  storeClient,
  type StoreListing,
  storeSource,
} from "./source.ts";
