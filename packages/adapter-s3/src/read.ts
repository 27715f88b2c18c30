/** The content of exactly the version that was listed, with what the server vouches for. */
import { type Body, type ByteRange, SourceError } from "@pannier/core/adapter";
import { contentOf, isNothing, isTimeFingerprint, rangeHeader } from "@pannier/http-client";
import { type Version, whyNot } from "./content.ts";
import { compositeOf, etagDigest, partsOf, wholeDigest } from "./digest.ts";
import type { Refusal } from "./errors.ts";
import { Declined, type Request, type Requests } from "./request.ts";

export interface Reader {
  content(version: Version, range: ByteRange | undefined, signal: AbortSignal): Promise<Body>;
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
    async content(version, range, signal) {
      const { size, fingerprint, versionId } = version;
      if (isNothing(range, size)) return new Uint8Array(0);
      if (unconditional || versionId !== undefined || isTimeFingerprint(fingerprint)) {
        return read(version, range, {}, signal);
      }
      const conditions = { headers: { "if-match": `"${fingerprint}"` }, decline: isUnmet };
      try {
        return await read(version, range, conditions, signal);
      } catch (error) {
        if (!(error instanceof Declined)) throw error;
        // It changed; or the server compares with another ETag than it lists, or knows no conditions.
        const body = await read(version, range, {}, signal);
        unconditional = true;
        return body;
      }
    },
  };

  /** The digest that only HEADs tell: of the whole object, or of its parts, where all but the last of them are of one size. */
  async function digestByHead(
    { key, size = 0, fingerprint }: Version,
    conditions: Pick<Request, "query" | "headers" | "decline">,
    signal: AbortSignal,
  ) {
    const parts = partsOf(fingerprint);
    const head = async (partNumber?: number) => {
      const { headers } = await ask(key, {
        ...conditions,
        method: "HEAD",
        query: { ...conditions.query, partNumber: partNumber?.toString() },
        headers: { ...conditions.headers, "x-amz-checksum-mode": "ENABLED" },
        operation: "read",
        signal,
      });
      return headers;
    };
    try {
      const whole = await head();
      const digest = wholeDigest(whole);
      if (digest !== undefined || parts === undefined) return digest;
      if (parts === 1) return compositeOf(whole, size);
      const [first, last] = await Promise.all([head(1), head(parts)]);
      const partSize = Number(first["content-length"]);
      const rest = size - (parts - 1) * partSize;
      const even = rest > 0 && rest <= partSize && Number(last["content-length"]) === rest;
      return even ? compositeOf(whole, partSize) : undefined;
    } catch (error) {
      signal.throwIfAborted();
      // The content itself can be read; a server that knows no parts vouches for nothing.
      if (error instanceof SourceError && !error.transient) return undefined;
      throw error;
    }
  }

  async function read(
    version: Version,
    range: ByteRange | undefined,
    match: Pick<Request, "headers" | "decline">,
    signal: AbortSignal,
  ): Promise<Body> {
    const { key, fingerprint, versionId } = version;
    const partial = range !== undefined && !(range.offset === 0 && range.length === undefined);
    const conditions = { query: { versionId }, ...match };
    // Of an answer that begins with the first byte only: what is hashed later on is joined to it.
    const begins = (range?.offset ?? 0) === 0;
    const askForDigest = () => digestByHead(version, conditions, signal);
    const composite = begins && partsOf(fingerprint) !== undefined ? askForDigest() : undefined;
    composite?.catch(() => {});
    const response = await ask(key, {
      ...conditions,
      headers: {
        ...match.headers,
        ...(partial ? { range: rangeHeader(range) } : { "x-amz-checksum-mode": "ENABLED" }),
      },
      operation: "read",
      signal,
    });
    const reason = whyNot(response, version, partial ? range : undefined, listedAt());
    if (reason !== undefined) {
      await response.discard();
      throw new SourceError("changed", `${key}: ${reason}`);
    }
    const { headers } = response;
    try {
      // The checksum of a part's answer may be that of a part.
      let digest = (await composite) ?? (partial ? etagDigest(headers) : wholeDigest(headers));
      // Encrypted by a key of KMS: the ETag is no MD5.
      if (digest === undefined && partial && begins && composite === undefined) {
        digest = await askForDigest();
      }
      const body = await contentOf(response);
      return digest === undefined ? body : Object.assign(body, { digest });
    } catch (error) {
      await response.discard();
      throw error;
    }
  }
}
