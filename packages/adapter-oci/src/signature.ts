/** The signature of an image, as cosign leaves it beside the image: in a referrer, or under a tag made of the digest. */
import { type CheckedSignature, type Signer, SourceError } from "@pannier/core/adapter";
import { type Descriptor, type ImageStore, parseManifest, referrersOf } from "@pannier/oci";
import { checkImageBundle, checkSimpleSigning } from "@pannier/signatures";

const BUNDLE = "application/vnd.dev.sigstore.bundle";
const SIMPLE_SIGNING = "application/vnd.dev.cosign.simplesigning.v1+json";
const SIGNATURE = "dev.cosignproject.cosign/signature";

/** Signatures that are looked at, and bytes of one. */
const MOST = 32;
const MAX_SIZE = 1 << 20;

/**
 * @param digest of the image's manifest, or of its index
 * @throws SourceError `invalid` where none of the signers signed it; UsageError where a key cannot be read
 */
export async function checkImage(
  store: ImageStore,
  digest: string,
  signers: readonly Signer[],
  signal: AbortSignal,
): Promise<CheckedSignature> {
  const reasons = new Set<string>();
  let left = MOST;
  for (const answers of [bundles, simpleSignatures]) {
    for await (const check of answers(store, digest, signal)) {
      if (left-- === 0) break;
      try {
        const answer = await check(signers);
        if (typeof answer !== "string") return answer;
        reasons.add(answer);
      } catch (error) {
        // What is broken is told, and another one may be good.
        if (!(error instanceof SourceError) || error.code !== "invalid") throw error;
        reasons.add(error.message);
      }
    }
  }
  const why = reasons.size === 0 ? "" : `: ${[...reasons].slice(0, 5).join("; ")}`;
  throw new SourceError(
    "invalid",
    `the image ${digest} is not signed by one who is trusted${why}`,
    {
      hint: "what is published stays; cosign sign signs it",
    },
  );
}

type Check = (signers: readonly Signer[]) => Promise<CheckedSignature | string>;

/** What cosign 3 makes. */
async function* bundles(
  store: ImageStore,
  digest: string,
  signal: AbortSignal,
): AsyncGenerator<Check> {
  for (const { digest: name, artifactType = BUNDLE } of await referrersOf(store, digest, signal)) {
    if (!artifactType.startsWith(BUNDLE)) continue;
    for (const blob of await layersOf(store, name, signal))
      if (blob.mediaType.startsWith(BUNDLE))
        yield async (signers) => checkImageBundle(await read(store, blob, signal), digest, signers);
  }
}

/** What it made before. */
async function* simpleSignatures(
  store: ImageStore,
  digest: string,
  signal: AbortSignal,
): AsyncGenerator<Check> {
  for (const blob of await layersOf(store, `${digest.replace(":", "-")}.sig`, signal)) {
    const signature = blob.annotations[SIGNATURE];
    if (blob.mediaType === SIMPLE_SIGNING && signature !== undefined)
      yield async (signers) =>
        checkSimpleSigning(await read(store, blob, signal), signature, digest, signers);
  }
}

/** Nothing where there is no such manifest, or where it is none of an image. */
async function layersOf(
  store: ImageStore,
  name: string,
  signal: AbortSignal,
): Promise<readonly Descriptor[]> {
  try {
    const manifest = parseManifest((await store.manifest(name, "signature", signal)).bytes);
    return manifest.kind === "image" ? manifest.layers : [];
  } catch (error) {
    if (error instanceof SourceError && /^(not-found|invalid)$/.test(error.code)) return [];
    throw error;
  }
}

async function read(store: ImageStore, blob: Descriptor, signal: AbortSignal): Promise<Buffer> {
  if (blob.size > MAX_SIZE)
    throw new SourceError("invalid", `a signature has more than ${MAX_SIZE} bytes`);
  const chunks: Uint8Array[] = [];
  for await (const chunk of await store.blob(blob, undefined, "signature", signal))
    chunks.push(Buffer.from(chunk));
  return Buffer.concat(chunks);
}
