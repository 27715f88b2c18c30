/** Files that have neither an ETag nor a date: only the content tells two versions apart. */
import { createHash } from "node:crypto";
import type { FileEntry } from "@pannier/core/adapter";
import { type HttpClient, storedBody } from "@pannier/http-client";

/** The entry of a file, by a digest of what it holds: the price is a download. */
export async function entryByContent(
  client: HttpClient,
  url: URL,
  path: string,
  signal: AbortSignal,
): Promise<FileEntry> {
  const response = await client.request(url, { operation: "list", signal });
  const hash = createHash("sha256");
  let size = 0;
  for await (const chunk of await storedBody(response)) {
    hash.update(chunk);
    size += chunk.byteLength;
  }
  const sha256 = hash.digest("hex");
  const digest = { algorithm: "sha256", value: sha256 } as const;
  return { kind: "file", path, size, fingerprint: `sha256:${sha256}`, digest };
}
