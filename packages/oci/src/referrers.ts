/** What refers to an image: its signatures, for one. */
import { SourceError } from "@pannier/core/adapter";
import { type Descriptor, parseManifest } from "./manifest.ts";
import type { ImageStore } from "./store.ts";

/** The tag under which referrers are listed where the registry does not list them itself (distribution specification). */
export function referrersTag(digest: string): string {
  return digest.replace(":", "-");
}

/** By the registry's own list, and by the tag, which those leave there who found no list. */
export async function referrersOf(
  store: ImageStore,
  digest: string,
  signal: AbortSignal,
): Promise<readonly Descriptor[]> {
  const listed = (await store.referrers?.(digest, signal)) ?? [];
  return listed.length > 0 ? listed : taggedReferrers(store, digest, signal);
}

/** Those that are listed under the tag. */
export async function taggedReferrers(
  store: ImageStore,
  digest: string,
  signal: AbortSignal,
): Promise<readonly Descriptor[]> {
  try {
    const { bytes } = await store.manifest(referrersTag(digest), "signature", signal);
    const index = parseManifest(bytes);
    return index.kind === "index" ? index.manifests : [];
  } catch (error) {
    if (error instanceof SourceError && error.code === "not-found") return [];
    throw error;
  }
}
