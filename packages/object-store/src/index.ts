export { listingClock } from "./clock.ts";
export { isExposed, optionalEndpoint, parseEndpoint } from "./endpoint.ts";
export { refuseMarker } from "./folder.ts";
export { inParts, once, type UploadLimits } from "./parts.ts";
export { markerOption, markerVersion } from "./marker.ts";
export { type Root } from "./locate.ts";
export { type ListObjectsPage, rootOf, type StoredObject } from "./objects.ts";
export type { KeyRange } from "./ordered-pages.ts";
export { readObject } from "./read.ts";
export { refusalText, throttled, withOtherKeys } from "./refusal.ts";
export { type Lease, type Renewed, renewed } from "./renewed.ts";
export { askStore } from "./request.ts";
export { askingAzure, awsHandler, azureClient, googleTransport } from "./sdk-transports.ts";
export { SIGNING_IN } from "./sign-in.ts";
export {
  laneBeside,
  type ListedObject,
  storeClient,
  type StoreListing,
  storeSource,
} from "./source.ts";
export { encodePath, queryOf } from "./url.ts";
