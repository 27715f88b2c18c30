/** Leaves the signature of an image beside it, as cosign does. */
import {
  digestOf,
  type ImageStore,
  MEDIA,
  parseManifest,
  referrersOf,
  referrersTag,
  taggedReferrers,
} from "@pannier/oci";
import { isSignedImage, signImage, type SigningKey } from "@pannier/signatures/sign";

const BUNDLE = "application/vnd.dev.sigstore.bundle.v0.3+json";
/** Bundles that are looked at, and bytes of one, to see whether the image is signed already. */
const MOST = 32;
const MAX_SIZE = 1 << 20;

/** Sends a blob unless it is there. */
export type PutBlob = (bytes: Buffer) => Promise<void>;

/** Signs an image that is in the store, unless the key signed it before. @returns whether it had to */
export async function signPushed(
  store: ImageStore,
  image: { readonly digest: string; readonly size: number },
  key: SigningKey,
  put: PutBlob,
  signal: AbortSignal,
): Promise<boolean> {
  if (await isSigned(store, image.digest, key, signal)) return false;
  const bundle = signImage(key, image.digest);
  const config = Buffer.from("{}");
  await put(bundle);
  await put(config);
  const bytes = Buffer.from(
    JSON.stringify({
      schemaVersion: 2,
      mediaType: MEDIA.manifest,
      artifactType: BUNDLE,
      config: { mediaType: MEDIA.empty, ...described(config) },
      layers: [{ mediaType: BUNDLE, ...described(bundle) }],
      subject: { mediaType: MEDIA.manifest, ...image },
      annotations: {
        "dev.sigstore.bundle.content": "dsse-envelope",
        "dev.sigstore.bundle.predicateType": "https://sigstore.dev/cosign/sign/v1",
      },
    }),
  );
  const own = described(bytes);
  await store.putManifest(own.digest, { bytes, mediaType: MEDIA.manifest }, signal);
  // A registry that lists referrers has taken note of the subject.
  if ((await store.referrers?.(image.digest, signal)) !== undefined) return true;
  const before = await taggedReferrers(store, image.digest, signal);
  const index = Buffer.from(
    JSON.stringify({
      schemaVersion: 2,
      mediaType: MEDIA.index,
      manifests: [...before, { mediaType: MEDIA.manifest, ...own, artifactType: BUNDLE }],
    }),
  );
  const tag = referrersTag(image.digest);
  await store.putManifest(tag, { bytes: index, mediaType: MEDIA.index }, signal);
  return true;
}

async function isSigned(
  store: ImageStore,
  digest: string,
  key: SigningKey,
  signal: AbortSignal,
): Promise<boolean> {
  const referrers = await referrersOf(store, digest, signal);
  for (const { digest: name, artifactType } of referrers.slice(0, MOST)) {
    if (artifactType !== BUNDLE) continue;
    const manifest = parseManifest((await store.manifest(name, "look", signal)).bytes);
    const [blob] = manifest.kind === "image" ? manifest.layers : [];
    if (blob === undefined || blob.size > MAX_SIZE) continue;
    const chunks: Uint8Array[] = [];
    for await (const chunk of await store.blob(blob, undefined, "look", signal))
      chunks.push(Buffer.from(chunk));
    if (isSignedImage(key, Buffer.concat(chunks), digest)) return true;
  }
  return false;
}

function described(bytes: Buffer) {
  return { digest: digestOf(bytes), size: bytes.byteLength };
}
