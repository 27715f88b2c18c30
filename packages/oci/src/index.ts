export {
  type Chunk,
  MAX_TOC,
  needZstd,
  readToc,
  TOC_CHECKSUM,
  TOC_KIND,
  TOC_POSITION,
  type TocEntry,
  type TocRange,
  tocRange,
} from "./chunked.ts";
export { type Descriptor, type Manifest, MEDIA, parseManifest, type Platform } from "./manifest.ts";
export { openStore } from "./open-store.ts";
export { referrersOf, referrersTag, taggedReferrers } from "./referrers.ts";
export { DIGEST, type Reference, referenceOf, SCHEMES } from "./reference.ts";
export { type BlobRange, digestOf, type ImageStore, once } from "./store.ts";
