/** One URL: asking whether it changed, and reading exactly the version that was listed. */
import { type Body, type ByteRange, SourceError } from "@pannier/core/adapter";
import { contentOf } from "./body.ts";
import { isCompressedOnTheWay, plainBody } from "./coding.ts";
import type { HttpClient } from "./client.ts";
import type { HttpResponse } from "./response.ts";
import { rangeHeader, rangeMismatch } from "./parts.ts";
import { ifMatchHeaders, type Validator, sameVersion, splitValidator } from "./conditional.ts";
import { isFresh, serverTime, tagIn, timeFingerprint } from "./validators.ts";

/** The version of an answer, `undefined` where the server gives neither an ETag nor a date. */
export function validatorOf(response: Pick<HttpResponse, "headers">): Validator | undefined {
  const { etag, "last-modified": modified } = response.headers;
  if (tagIn(etag) !== undefined) return `etag ${etag}`;
  return modified === undefined || modified === "" ? undefined : `modified ${modified}`;
}

/**
 * What names the version of an answer in a token: with nothing but a date that is of just now, the file may change once more without
 * showing, so there is none.
 */
export function settledValidator(response: Pick<HttpResponse, "headers">): Validator | undefined {
  const validator = validatorOf(response);
  if (validator === undefined || !validator.startsWith("modified ")) return validator;
  return isFresh(Date.parse(validator.slice("modified ".length)), serverTime(response))
    ? undefined
    : validator;
}

/** What is known of a URL's content without reading it. */
interface Resource {
  readonly validator: Validator | undefined;
  /** As {@link settledValidator} has it. */
  readonly token: Validator | undefined;
  /** What tells two contents apart: the ETag, else size and date. */
  readonly fingerprint: string | undefined;
  readonly size: number | undefined;
  /** In lower case, without parameters: `text/html`. */
  readonly mediaType: string | undefined;
  readonly mtime: number | undefined;
  /** True where the server answers to ranges. */
  readonly ranges: boolean;
  /** After redirects. */
  readonly url: URL;
}

/** Describes the content that an answer announces. */
export function resourceOf(response: HttpResponse): Resource {
  const { headers, status, url } = response;
  const size = status === 206 ? totalSize(headers["content-range"]) : headers["content-length"];
  const mtime = Date.parse(headers["last-modified"] ?? "");
  const validator = validatorOf(response);
  const length = size === undefined ? undefined : Number(size);
  const dated = validator?.startsWith("modified ") === true && !Number.isNaN(mtime);
  return {
    validator,
    token: settledValidator(response),
    fingerprint: dated ? timeFingerprint(length, mtime, serverTime(response)) : validator,
    size: length,
    mediaType: headers["content-type"]?.split(";", 1)[0]?.trim().toLowerCase(),
    mtime: Number.isNaN(mtime) ? undefined : mtime,
    ranges: status === 206 || /\bbytes\b/i.test(headers["accept-ranges"] ?? ""),
    url,
  };
}

/** How a range is refused: of an empty file, or by servers that should ignore what they do not know. */
const NO_RANGE: readonly number[] = [400, 416, 500, 501];

/**
 * Asks for a URL's version, with a GET of one byte: signed URLs are often good for GET only. One request, except for an
 * empty file and for servers that do not take ranges well.
 *
 * @param known the version that the caller has
 * @returns `undefined` when the server says that it is still that one
 */
export async function inspect(
  client: HttpClient,
  url: URL,
  operation: string,
  signal: AbortSignal,
  known?: Validator,
): Promise<Resource | undefined> {
  const ask = (headers: Record<string, string>, others: readonly number[] = []) =>
    client.request(url, { headers, operation, signal, expect: [200, 206, 304, ...others] });
  let response = await ask({ ...ifNoneMatchHeaders(known), range: "bytes=0-0" }, NO_RANGE);
  if (NO_RANGE.includes(response.status)) {
    await response.discard();
    response = await ask(ifNoneMatchHeaders(known));
  }
  await response.discard();
  return response.status === 304 ? undefined : resourceOf(response);
}

/** Clients of servers that do not answer HEAD as they answer GET. */
const withoutHead = new WeakSet<HttpClient>();

/**
 * Asks what is known of a URL's content without reading it: by HEAD, or by a GET of one byte where HEAD is refused or tells less.
 * That is remembered for the client.
 */
export async function inspectByHead(
  client: HttpClient,
  url: URL,
  operation: string,
  signal: AbortSignal,
): Promise<Resource> {
  if (!withoutHead.has(client)) {
    const head = { method: "HEAD", operation, signal, expect: "any" } as const;
    const response = await client.request(url, head);
    await response.discard();
    const resource = resourceOf(response);
    // Of a directory, which a redirect leads to, GET tells no more.
    const enough = resource.validator !== undefined || resource.url.pathname.endsWith("/");
    if (response.status < 300 && enough) return resource;
  }
  const resource = await inspect(client, url, operation, signal);
  if (resource === undefined) throw new SourceError("invalid", "answered 304 to a plain GET");
  withoutHead.add(client);
  return resource;
}

/** The condition "only if it is another version". */
export function ifNoneMatchHeaders(validator: Validator | undefined): Record<string, string> {
  const [kind, value] = splitValidator(validator);
  // One that is not valid would be compared with nothing, or refused.
  if (kind === "etag") return /^(?:W\/)?"[^"]+"$/.test(value) ? { "if-none-match": value } : {};
  return kind === "modified" ? { "if-modified-since": value } : {};
}

/**
 * Reads a version of a URL, or a part of it.
 *
 * @param validator the version; `undefined` where nothing is known and the caller checks the content itself
 * @throws SourceError `changed` where the server has another version by now, or cannot say that it has not
 */
export async function readVersion(
  client: HttpClient,
  url: URL,
  validator: Validator | undefined,
  size: number | undefined,
  range: ByteRange | undefined,
  signal: AbortSignal,
): Promise<Body> {
  if (isNothing(range, size)) return new Uint8Array(0);
  const partial = range !== undefined && !(range.offset === 0 && range.length === undefined);
  const headers = {
    ...ifMatchHeaders(validator),
    ...(partial ? { range: rangeHeader(range) } : {}),
  };
  const response = await client.request(url, {
    headers,
    operation: "read",
    signal,
    expect: [200, 206, 412, 416],
  });
  if (response.status === 416 && size === undefined) {
    await response.discard();
    // The end of a file whose size was not known.
    if (totalSize(response.headers["content-range"]) === String(range?.offset)) {
      return new Uint8Array(0);
    }
  }
  const reason = changeMismatch(response, validator, size, partial ? range : undefined);
  if (reason !== undefined) {
    await response.discard();
    throw new SourceError("changed", reason);
  }
  if (isCompressedOnTheWay(response)) return plainBody(response);
  return contentOf(response);
}

/** Whether a range is empty, or begins where the file ends. */
export function isNothing(range: ByteRange | undefined, size: number | undefined): boolean {
  return range !== undefined && (range.length === 0 || range.offset >= (size ?? Infinity));
}

/** Why an answer is not the version asked for; `undefined` if it is. */
function changeMismatch(
  response: HttpResponse,
  validator: Validator | undefined,
  size: number | undefined,
  range: ByteRange | undefined,
): string | undefined {
  const { status } = response;
  if (status === 412) return "the file changed since it was listed";
  if (status === 416) return "the file is shorter than when it was listed";
  if (!sameVersion(response, validator)) return "the file changed since it was listed";
  return rangeMismatch(response, size, range);
}

function totalSize(contentRange: string | undefined): string | undefined {
  return /\/(\d+)$/.exec(contentRange ?? "")?.[1];
}
