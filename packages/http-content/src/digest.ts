/** Reads what is named by nothing but its digest. */
import { createHash } from "node:crypto";
import { type Body, type ByteRange, type FileEntry, SourceError } from "@pannier/core/adapter";
import {
  type HttpClient,
  inspect,
  isNothing,
  type Validator,
  readVersion,
} from "@pannier/http-client";

/** Parts of files up to this size are cut from the whole. */
const WHOLE = 4 << 20;
/** Large files of which parts are being read: far more than are at once. */
const MAX_VALIDATORS = 256;

/** Reads entries that have a SHA-256, but no ETag or date from their listing. */
type DigestReader = (
  entry: FileEntry,
  url: URL,
  range: ByteRange | undefined,
  signal: AbortSignal,
) => Promise<Body>;

/**
 * A file is checked at its end. A part cannot be: of a small file the whole is read, checked and cut; the parts of a large
 * one are held together by the ETag or date that the first of them found, and whoever joins them checks the digest.
 *
 * @param mismatch the error for content that is not what was listed
 */
export function createDigestReader(
  client: HttpClient,
  mismatch: (signal: AbortSignal) => Promise<SourceError>,
): DigestReader {
  const validators = new Map<string, Validator>();

  async function validatorFor(
    entry: FileEntry,
    url: URL,
    signal: AbortSignal,
  ): Promise<Validator | undefined> {
    const known = validators.get(entry.fingerprint);
    if (known !== undefined) return known;
    const resource = await inspect(client, url, "read", signal);
    // Others may have asked at the same time: all keep to one answer.
    const validator =
      validators.get(entry.fingerprint) ??
      (resource?.ranges === true ? resource.validator : undefined);
    if (validator === undefined) return undefined;
    if (validators.size >= MAX_VALIDATORS)
      validators.delete(validators.keys().next().value as string);
    validators.set(entry.fingerprint, validator);
    return validator;
  }

  return async (entry, url, range, signal) => {
    const { size } = entry;
    if (isNothing(range, size)) return new Uint8Array(0);
    if (range !== undefined && size !== undefined && size > WHOLE) {
      const validator = await validatorFor(entry, url, signal);
      if (validator !== undefined) {
        try {
          return await readVersion(client, url, validator, size, range, signal);
        } catch (error) {
          if (error instanceof SourceError && error.code === "changed") {
            validators.delete(entry.fingerprint);
          }
          throw error;
        }
      }
    }
    const whole = await readVersion(client, url, undefined, size, undefined, signal);
    const bytes = checked(whole instanceof Uint8Array ? [whole] : whole, entry, mismatch, signal);
    if (whole instanceof Uint8Array) for await (const _ of bytes);
    if (range === undefined) return whole instanceof Uint8Array ? whole : bytes;
    const end = range.offset + (range.length ?? Infinity);
    return whole instanceof Uint8Array
      ? whole.subarray(range.offset, end)
      : cut(bytes, range.offset, end);
  };
}

async function* checked(
  bytes: AsyncIterable<Uint8Array> | Iterable<Uint8Array>,
  entry: FileEntry,
  mismatch: (signal: AbortSignal) => Promise<SourceError>,
  signal: AbortSignal,
): AsyncGenerator<Uint8Array> {
  const hash = createHash("sha256");
  for await (const chunk of bytes) {
    hash.update(chunk);
    yield chunk;
  }
  if (hash.digest("hex") !== entry.digest?.value) throw await mismatch(signal);
}

/** Cuts, but reads on to the end: only there it shows whether all was right. */
async function* cut(
  bytes: AsyncIterable<Uint8Array>,
  from: number,
  to: number,
): AsyncGenerator<Uint8Array> {
  let position = 0;
  for await (const chunk of bytes) {
    const part = chunk.subarray(Math.max(0, from - position), Math.max(0, to - position));
    position += chunk.byteLength;
    if (part.byteLength > 0) yield part;
  }
}
