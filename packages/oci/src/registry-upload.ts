/** Uploads of blobs and manifests. */
import { SourceError } from "@pannier/core/adapter";
import type { RegistryClient } from "./registry-client.ts";
import type { ImageStore } from "./store.ts";

export async function uploadBlob(
  { at, ask, registry }: RegistryClient,
  ...[blob, content, signal]: Parameters<ImageStore["putBlob"]>
): Promise<void> {
  const begun = await ask(at("blobs/uploads/"), {
    method: "POST",
    headers: { "content-length": "0" },
    operation: "upload",
    signal,
    expect: [202],
  });
  await begun.discard();
  const place = URL.parse(begun.headers["location"] ?? "", begun.url);
  if (place === null || (registry.protocol === "https:" && place.protocol !== "https:")) {
    throw new SourceError("invalid", "the registry names no place to upload to");
  }
  place.searchParams.set("digest", blob.digest);
  const done = await ask(place, {
    method: "PUT",
    headers: {
      "content-type": "application/octet-stream",
      "content-length": String(blob.size),
    },
    body: content(),
    operation: "upload",
    signal,
    expect: [201, 204],
  });
  await done.discard();
}

export async function uploadManifest(
  { at, ask }: RegistryClient,
  ...[tag, { bytes, mediaType }, signal]: Parameters<ImageStore["putManifest"]>
): Promise<void> {
  const response = await ask(at(`manifests/${tag}`), {
    method: "PUT",
    headers: { "content-type": mediaType },
    body: bytes,
    operation: "upload",
    signal,
    expect: [201],
  });
  await response.discard();
}
