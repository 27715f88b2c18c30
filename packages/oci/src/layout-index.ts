/** `index.json` of an image layout: https://github.com/opencontainers/image-spec/blob/main/image-layout.md */
import { SourceError } from "@pannier/core/adapter";
import { type Descriptor, MAX_MANIFEST, MEDIA, parseManifest } from "./manifest.ts";
import type { Reference } from "./reference.ts";
import { referrersTag } from "./referrers.ts";

const REF_NAME = "org.opencontainers.image.ref.name";

/** As many images as have tags: only its bytes are limited, by who reads it. @throws SourceError `invalid` */
export function readLayoutIndex(bytes: Buffer): readonly Descriptor[] {
  const index = parseManifest(bytes, Infinity);
  if (index.kind === "index") return index.manifests;
  throw new SourceError("invalid", "index.json is not an index");
}

/** The digest of what a tag names; without a tag, of the only image. @throws SourceError `not-found` */
export function imageIn(
  manifests: readonly Descriptor[],
  tag: string,
  { tagged }: Pick<Reference, "tagged">,
): string {
  const named = manifests.filter((item) => isNamed(item, tag));
  const images = manifests.filter(({ annotations }) => !isOfReferrers(annotations[REF_NAME]));
  const found = named.length > 0 ? named : tagged ? [] : images;
  const [only] = found;
  if (only !== undefined && new Set(found.map(({ digest }) => digest)).size === 1) {
    return only.digest;
  }
  throw new SourceError(
    "not-found",
    `the image layout has ${only === undefined ? "no" : "more than one"} image ${tag}`,
    { hint: "write its tag at the end of the path: /dir:tag" },
  );
}

export function tagsIn(manifests: readonly Descriptor[]): readonly string[] {
  return manifests.flatMap(({ annotations }) => {
    const name = annotations[REF_NAME];
    return name === undefined ? [] : [name.slice(name.lastIndexOf(":") + 1)];
  });
}

/** Some programs write the name of the repository before the tag. */
function isNamed({ annotations }: Descriptor, tag: string): boolean {
  const name = annotations[REF_NAME];
  return name === tag || name?.endsWith(`:${tag}`) === true;
}

/**
 * The index in which a tag names an image. What the tag named before is in it no more, and neither is the list of its signatures, unless
 * another tag names that image: the index would otherwise grow with each revision.
 *
 * @throws SourceError `unsupported` where it would be larger than what is read
 */
export function indexWith(
  manifests: readonly Descriptor[],
  tag: string,
  image: Omit<Descriptor, "annotations">,
): Buffer {
  const named = ({ annotations }: Descriptor) => annotations[REF_NAME];
  const kept = manifests.filter((item) => !isNamed(item, tag));
  const gone = manifests
    .filter((item) => isNamed(item, tag) && item.digest !== image.digest)
    .filter(({ digest }) => !kept.some((item) => item.digest === digest))
    .map(({ digest }) => referrersTag(digest));
  const index = {
    schemaVersion: 2,
    mediaType: MEDIA.index,
    manifests: [
      ...kept.filter((item) => !gone.includes(named(item) ?? "")),
      { ...image, annotations: { [REF_NAME]: tag } },
    ],
  };
  const bytes = Buffer.from(JSON.stringify(index));
  if (bytes.byteLength <= MAX_MANIFEST) return bytes;
  throw new SourceError(
    "unsupported",
    `the image layout has too many tags: its index would have more than ${MAX_MANIFEST} bytes`,
    { hint: "push to another directory, or remove tags from index.json" },
  );
}

/** The tag of a list of what refers to an image. */
function isOfReferrers(name: string | undefined): boolean {
  return name !== undefined && /^sha256-[0-9a-f]{64}/.test(name);
}
