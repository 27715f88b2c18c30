/** The generation of the newest version of an object, asked for by Google's SDK. */
import type { Bucket as SdkBucket } from "@google-cloud/storage";
import { asObject, FIELDS, readMetadata } from "./page.ts";
import { ask, type Bucket } from "./request.ts";
import type { Question } from "./connection.ts";

export async function inspectMarker(
  bucket: Bucket,
  key: string,
  signal: AbortSignal,
): Promise<string> {
  const opened = await bucket.connection.current(signal);
  const found = await metadataOf(opened.bucket, key, async (url, query) => {
    const asked = { kind: "object", key } as const;
    const response = await ask(bucket, opened, { url, query, operation: "probe", asked, signal });
    return readMetadata(response);
  });
  return asObject(found).generation;
}

/** @param send sends the SDK's request */
async function metadataOf(
  bucket: SdkBucket,
  key: string,
  send: Question["send"],
): Promise<unknown> {
  const file = bucket.file(key);
  file.interceptors.push({ request: (options) => Object.assign(options, { send }) as never });
  const [metadata] = await file.getMetadata({ fields: FIELDS });
  return metadata;
}
