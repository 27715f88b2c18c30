/** The stored bytes of exactly the generation that was listed. */
import { type Body, type ByteRange, SourceError } from "@pannier/core/adapter";
import { type ListedObject, readObject } from "@pannier/object-store";
import { contentUrl, STORED, whyOtherGeneration } from "./content.ts";
import { ask as request, type Bucket } from "./request.ts";

export async function readGeneration(
  bucket: Bucket,
  { key, ref: generation, entry }: ListedObject,
  userProject: string | undefined,
  range: ByteRange | undefined,
  signal: AbortSignal,
): Promise<Body> {
  if (generation === undefined) {
    throw new SourceError("changed", `${key}: it is not known which generation was listed`);
  }
  return readObject({
    subject: key,
    size: entry.size,
    range,
    async ask(headers) {
      const opened = await bucket.connection.current(signal);
      return request(bucket, opened, {
        url: contentUrl(opened.objects, key, generation, userProject),
        headers: { ...STORED, ...headers },
        operation: "read",
        asked: { kind: "object", key, generation },
        signal,
      });
    },
    mismatch: (response) => whyOtherGeneration(response, generation),
  });
}
