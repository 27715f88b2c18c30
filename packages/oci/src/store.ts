/** Where images are: a registry, or a layout on this machine, on a web server or in a folder of another adapter. All know blobs by digest and manifests by digest or tag. */
import { createHash, hash } from "node:crypto";
import { type Credentials, type Folder, type Location, SourceError } from "@pannier/core/adapter";
import type { Environment } from "./docker-config.ts";
import { type Descriptor, MAX_MANIFEST } from "./manifest.ts";
import type { Reference } from "./reference.ts";

export interface StoreInit {
  readonly location: Location;
  readonly reference: Reference;
  /** What a registry is asked for when signing in. */
  readonly actions: "pull" | "pull,push";
  readonly credentials: Credentials;
  /** Where proxies and files of Docker and podman are looked up. */
  readonly env: Environment;
  /** Milliseconds. */
  readonly idleTimeout: number;
  readonly onRequest?: ((operation: string) => void) | undefined;
  /** Opens the folder of a layout that another adapter reaches, by its path in the URL. */
  readonly folder?: ((pathname: string) => Promise<Folder>) | undefined;
}

export interface StoredManifest {
  readonly bytes: Buffer;
  /** Of the bytes. */
  readonly digest: string;
}

/** A part of a blob. */
export interface BlobRange {
  readonly offset: number;
  readonly length: number;
}

export interface ImageStore {
  /** The digest of what a tag names, by one question. */
  resolve(tag: string, signal: AbortSignal): Promise<string>;
  /** @throws SourceError `invalid` where it is not what the digest says, or has more than 4 MiB */
  manifest(reference: string, operation: string, signal: AbortSignal): Promise<StoredManifest>;
  /**
   * A blob, or a part of it. A whole one is checked at its end: it fails unless size and digest are those of the descriptor. A
   * part is the caller's to check.
   */
  blob(
    blob: Pick<Descriptor, "digest" | "size">,
    range: BlobRange | undefined,
    operation: string,
    signal: AbortSignal,
  ): Promise<AsyncIterable<Uint8Array>>;
  tags(signal: AbortSignal): Promise<readonly string[]>;
  /** What refers to a manifest, by the registry's own list; `undefined` where it has none. */
  referrers?(digest: string, signal: AbortSignal): Promise<readonly Descriptor[] | undefined>;
  /** Whether a blob is there, in a layout with that size. */
  has(blob: Pick<Descriptor, "digest" | "size">, signal: AbortSignal): Promise<boolean>;
  putBlob(
    blob: Pick<Descriptor, "digest" | "size">,
    content: () => AsyncIterable<Uint8Array>,
    signal: AbortSignal,
  ): Promise<void>;
  putManifest(
    tag: string,
    manifest: { readonly bytes: Buffer; readonly mediaType: string },
    signal: AbortSignal,
  ): Promise<void>;
  /** What it signs in with, in words; never what it is. */
  identity(signal: AbortSignal): Promise<string>;
  /** Never throws. */
  close(): Promise<void>;
}

export function digestOf(bytes: Uint8Array): string {
  return `sha256:${hash("sha256", bytes)}`;
}

/** Takes a manifest whole. @param wanted a digest or a tag; only the first can be checked */
export async function takeManifest(
  body: AsyncIterable<Uint8Array>,
  wanted: string,
): Promise<StoredManifest> {
  const chunks: Uint8Array[] = [];
  let size = 0;
  for await (const chunk of body) {
    size += chunk.byteLength;
    if (size > MAX_MANIFEST) {
      throw new SourceError("invalid", `the manifest has more than ${MAX_MANIFEST} bytes`);
    }
    chunks.push(chunk);
  }
  const bytes = Buffer.concat(chunks, size);
  const digest = digestOf(bytes);
  if (wanted.includes(":") && wanted !== digest) {
    throw new SourceError("invalid", `the manifest is not ${wanted}: it is another's`, {
      hint: "the fault is the registry's, or that of a cache in front of it",
    });
  }
  return { bytes, digest };
}

/** Checks a blob while it passes. */
export async function* checkedBlob(
  body: AsyncIterable<Uint8Array>,
  { digest, size }: Pick<Descriptor, "digest" | "size">,
): AsyncGenerator<Uint8Array> {
  const sum = createHash("sha256");
  let received = 0;
  for await (const chunk of body) {
    received += chunk.byteLength;
    if (received > size) break;
    sum.update(chunk);
    yield chunk;
  }
  if (received !== size || `sha256:${sum.digest("hex")}` !== digest) {
    throw new SourceError("invalid", `the blob ${digest} is not what its digest says`, {
      hint: "it was damaged at the registry or on the way",
    });
  }
}

/** Bytes that are there, as content that comes. */
export async function* once(bytes: Uint8Array): AsyncGenerator<Uint8Array> {
  yield bytes;
}
