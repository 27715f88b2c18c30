/** The content of exactly the version that was listed, with what the server vouches for. */
import { type Body, type ByteRange, type Digest, SourceError } from "@pannier/core/adapter";
import { isTimeFingerprint } from "@pannier/http-client";
import { type ListedObject, readObject } from "@pannier/object-store";
import { whyOtherVersion } from "./content.ts";
import { compositeOf, etagDigest, isQuick, partsOf, wholeDigest } from "./digest.ts";
import type { Refusal } from "./errors.ts";
import { Declined, type Request, type Requests } from "./request.ts";

export interface Reader {
  read(object: ListedObject, range: ByteRange | undefined, signal: AbortSignal): Promise<Body>;
  /** Whether the server's conditions do not compare what it lists. */
  unconditional(): boolean;
}

/** A condition that is not met, or that the server does not know. */
function isUnmet({ status, code }: Refusal): boolean {
  return status === 412 || status === 501 || code === "NotImplemented";
}

/** @param listedAt when the last listing began, by the server's clock */
export function makeReader({ ask }: Requests, listedAt: () => number): Reader {
  let unconditional = false;

  return {
    unconditional: () => unconditional,
    async read({ key, ref: versionId, entry }, range, signal) {
      const { size, fingerprint } = entry;
      const hasTag = !unconditional && versionId === undefined && !isTimeFingerprint(fingerprint);
      const parts = partsOf(fingerprint);
      // Of an answer that begins with the first byte only: what is hashed later on is joined to it.
      const begins = (range?.offset ?? 0) === 0;
      let byHead: Promise<Digest | undefined> | undefined;
      const askForDigest = (request: HeadRequest) => digestByHead(ask, entry, key, request);
      let asked: HeadRequest;
      return readObject({
        subject: key,
        size,
        range,
        etag: hasTag ? fingerprint : undefined,
        ask(headers, part) {
          const { range: _part, ...conditions } = headers;
          const decline = "if-match" in headers ? isUnmet : undefined;
          asked = { query: { versionId }, headers: conditions, decline, signal };
          byHead = begins && parts !== undefined ? askForDigest(asked) : undefined;
          byHead?.catch(() => {});
          const mode = part === undefined ? WITH_CHECKSUM : {};
          return ask(key, { ...asked, headers: { ...headers, ...mode }, operation: "read" });
        },
        isUnmet: (error) => error instanceof Declined,
        onUnmet: () => (unconditional = true),
        mismatch: (response) => whyOtherVersion(response, entry, versionId, listedAt()),
        async digestOf({ headers }, part) {
          // The checksum of a part's answer may be that of a part.
          const own = part === undefined ? wholeDigest(headers) : etagDigest(headers);
          const digest = (await byHead) ?? own;
          if (digest !== undefined || part === undefined || !begins || byHead !== undefined) {
            return digest;
          }
          // Encrypted by a key of KMS: the ETag is no MD5.
          return askForDigest(asked);
        },
      });
    },
  };
}

const WITH_CHECKSUM = { "x-amz-checksum-mode": "ENABLED" };

type HeadRequest = Pick<Request, "query" | "headers" | "decline" | "signal">;

/** Bytes from which two more HEADs take less time than a slow digest. */
const LARGE = 64 * 2 ** 20;

/** The digest that only HEADs tell: of the whole object, or of its parts, where all but the last of them are of one size. */
async function digestByHead(
  ask: Requests["ask"],
  { size = 0, fingerprint }: ListedObject["entry"],
  key: string,
  request: HeadRequest,
): Promise<Digest | undefined> {
  const parts = partsOf(fingerprint);
  const head = async (partNumber?: number) => {
    const response = await ask(key, {
      ...request,
      method: "HEAD",
      query: { ...request.query, partNumber: partNumber?.toString() },
      headers: { ...request.headers, ...WITH_CHECKSUM },
      operation: "read",
    });
    return response.headers;
  };
  let digest: Digest | undefined;
  try {
    const whole = await head();
    digest = wholeDigest(whole);
    if (parts === undefined || (digest !== undefined && (isQuick(digest) || size < LARGE)))
      return digest;
    // That of nothing is as good as one of any size.
    if (parts === 1) return digest ?? compositeOf(whole, Math.max(1, size));
    const [first, last] = await Promise.all([head(1), head(parts)]);
    const partSize = Number(first["content-length"]);
    const rest = size - (parts - 1) * partSize;
    const even = rest > 0 && rest <= partSize && Number(last["content-length"]) === rest;
    return (even ? compositeOf(whole, partSize) : undefined) ?? digest;
  } catch (error) {
    request.signal.throwIfAborted();
    // The content itself can be read; a server that knows no parts vouches for nothing else.
    if (error instanceof SourceError && !error.transient) return digest;
    throw error;
  }
}
