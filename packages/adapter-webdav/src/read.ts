/** The content of a file, as long as it is the version that was listed. */
import {
  type Body,
  type ByteRange,
  type FileEntry,
  quotePath,
  SourceError,
} from "@pannier/core/adapter";
import {
  contentOf,
  type HttpClient,
  type HttpResponse,
  isNothing,
  rangeHeader,
  resourceOf,
  tagIn,
  rangeMismatch,
  versionMismatch,
} from "@pannier/http-client";
import { AT_ONCE, conditionsOf, etagOf } from "./request.ts";
import type { SignIn } from "./sign-in.ts";

/** What a source knows of its server's versions. */
interface Versions {
  /** When the last listing began, by the server's clock, in milliseconds. */
  listedAt: number;
  /** True where its conditions do not compare what it lists. */
  unconditional: boolean;
}

interface Reading {
  readonly client: HttpClient;
  readonly signIn: SignIn;
  readonly versions: Versions;
  readonly url: URL;
  readonly entry: FileEntry;
  readonly range: ByteRange | undefined;
  readonly signal: AbortSignal;
}

export async function readVersion(reading: Reading): Promise<Body> {
  const { entry, range, versions } = reading;
  if (isNothing(range, entry.size)) return new Uint8Array(0);
  const conditions = versions.unconditional ? {} : conditionsOf(entry);
  let response = await ask(reading, conditions);
  if (response.status === 412 && Object.keys(conditions).length > 0) {
    // It changed; or the server compares with another ETag than it lists.
    await response.discard();
    response = await ask(reading, {});
    if (findMismatch(reading, response) === undefined) versions.unconditional = true;
  }
  const { status, headers } = response;
  if (status === 416 && entry.size === undefined) {
    await response.discard();
    // The end of a file whose size was not known.
    const end = /\/(\d+)$/.exec(headers["content-range"] ?? "")?.[1];
    if (end === String(range?.offset)) return new Uint8Array(0);
  }
  const reason = findMismatch(reading, response);
  if (reason !== undefined) {
    await response.discard();
    throw new SourceError("changed", `${quotePath(entry.path)}: ${reason}`);
  }
  const body = await contentOf(response);
  if (!(body instanceof Uint8Array)) return checked(body, reading, headers);
  if (body.length > AT_ONCE) await check(reading, headers);
  return body;
}

function ask(
  reading: Reading,
  conditions: Readonly<Record<string, string>>,
): Promise<HttpResponse> {
  const { client, signIn, url, entry, range, signal } = reading;
  return signIn.request(client, url, {
    headers: { ...conditions, ...(isPart(range) ? { range: rangeHeader(range) } : {}) },
    subject: quotePath(entry.path),
    expect: [200, 206, 412, 416],
    operation: "read",
    signal,
  });
}

function isPart(range: ByteRange | undefined): range is ByteRange {
  return range !== undefined && !(range.offset === 0 && range.length === undefined);
}

/** Why an answer is not what was asked for; `undefined` if it is. Looked at here as well: servers ignore conditions. */
function findMismatch(
  { entry, range, versions }: Reading,
  response: HttpResponse,
): string | undefined {
  if (response.status === 412) return "it changed since it was listed";
  if (response.status === 416) return "it is shorter than when it was listed";
  const listed = { etag: etagOf(entry.fingerprint), mtime: entry.mtime };
  return (
    versionMismatch(response, listed, versions.listedAt) ??
    rangeMismatch(response, entry.size, isPart(range) ? range : undefined)
  );
}

async function* checked(
  body: AsyncIterable<Uint8Array>,
  reading: Reading,
  served: HttpResponse["headers"],
): AsyncGenerator<Uint8Array> {
  yield* body;
  await check(reading, served);
}

/** How servers refuse HEAD where they answer GET. */
const NO_HEAD: readonly number[] = [403, 405, 501];

/**
 * A server reads a file while it sends it: one that is written in place meanwhile comes half old and half new, under the old ETag.
 *
 * @param served what the content came with
 */
async function check(
  { client, signIn, versions, url, entry, signal }: Reading,
  served: HttpResponse["headers"],
): Promise<void> {
  const look = (method: "HEAD" | "GET", expect: readonly number[]) =>
    signIn.request(client, url, {
      method,
      headers: method === "GET" ? { range: "bytes=0-0" } : {},
      subject: quotePath(entry.path),
      expect,
      operation: "check",
      signal,
    });
  let response = await look("HEAD", [200, ...NO_HEAD]);
  await response.discard();
  if (response.status !== 200) {
    response = await look("GET", [200, 206]);
    await response.discard();
  }
  const { headers } = response;
  const { size } = resourceOf(response);
  const sameSize = size === undefined || entry.size === undefined || size === entry.size;
  const tag = tagIn(served["etag"]);
  const listed = { etag: etagOf(entry.fingerprint), mtime: entry.mtime };
  const same =
    tag === undefined || tagIn(headers["etag"]) === undefined
      ? versionMismatch(response, listed, versions.listedAt) === undefined
      : tag === tagIn(headers["etag"]);
  if (sameSize && same) return;
  throw new SourceError("changed", `${quotePath(entry.path)} changed while it was read`);
}
