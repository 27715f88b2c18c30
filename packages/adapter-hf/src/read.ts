/** The content of a file, as long as it is the version that was listed. */
import { createHash } from "node:crypto";
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
  type HttpRequest,
  type HttpResponse,
  isNothing,
  rangeHeader,
  tagIn,
  rangeMismatch,
} from "@pannier/http-client";
import { ANSWERS, type Hub, isOid } from "./hub.ts";

export interface Reading {
  readonly hub: Hub;
  readonly client: HttpClient;
  readonly commit: string;
  /** Of the file in the repository. */
  readonly path: string;
  readonly entry: FileEntry;
  readonly range: ByteRange | undefined;
  readonly signal: AbortSignal;
}

/** Redirects from one name of a repository to another, before the one to where a large file lies. */
const MOST_REDIRECTS = 5;

export async function readVersion(reading: Reading): Promise<Body> {
  const { entry, signal } = reading;
  if (isNothing(reading.range, entry.size)) return new Uint8Array(0);
  const range = isWhole(reading) ? undefined : reading.range;
  const headers = range === undefined ? undefined : { range: rangeHeader(range) };
  const response = await open(reading, { headers, operation: "read", signal });
  const why =
    response.status === 416
      ? "it is shorter than when it was listed"
      : rangeMismatch(response, entry.size, range);
  if (why !== undefined) {
    await response.discard();
    throw changed(entry, why);
  }
  const body = await contentOf(response);
  // The engine checks the SHA-256 that a large file was listed with.
  return range === undefined && entry.digest === undefined ? checked(body, entry) : body;
}

function isWhole({ range, entry }: Reading): boolean {
  if (range === undefined) return true;
  return range.offset === 0 && (range.length === undefined || range.length === entry.size);
}

/**
 * The Hub tells of what it is about to send, before it leads to where a large file lies. Nothing that signs in goes there, unless the
 * user's own files name that host.
 */
async function open(
  { hub, client, commit, path, entry }: Reading,
  request: HttpRequest,
): Promise<HttpResponse> {
  let response = await hub.file(commit, path, request);
  for (let hops = 0; hops < MOST_REDIRECTS; hops++) {
    const { status, headers } = response;
    const isAnswer = status < 300 || status === 416;
    const tag = tagIn(headers["x-linked-etag"] ?? (isAnswer ? headers["etag"] : undefined));
    // Mirrors have tags of their own making.
    if (tag !== undefined && isOid(tag) && tag !== entry.fingerprint) {
      await response.discard();
      throw changed(entry, "it changed since it was listed");
    }
    if (isAnswer) return response;
    await response.discard();
    const target = redirectOf(response, path);
    const { origin } = response.url;
    if (target.origin !== origin) {
      return client.request(target, { ...request, subject: quotePath(path), expect: ANSWERS });
    }
    response = await hub.follow(target, path, request);
  }
  throw new SourceError("invalid", `${quotePath(path)}: the server redirects in a loop`);
}

function redirectOf({ headers, url }: HttpResponse, path: string): URL {
  const target = URL.parse(headers["location"] ?? "", url);
  if (target === null) {
    throw new SourceError("invalid", `${quotePath(path)}: the server redirects to nowhere`);
  }
  if (url.protocol === "https:" && target.protocol !== "https:") {
    throw new SourceError("invalid", `${quotePath(path)}: the server redirects from https to http`);
  }
  return target;
}

/** A blob's name in git is a digest of it. */
function checked(body: Uint8Array | AsyncIterable<Uint8Array>, entry: FileEntry): Body {
  const algorithm = entry.fingerprint.length === 40 ? "sha1" : "sha256";
  const hash = createHash(algorithm).update(`blob ${entry.size}\0`);
  const check = () => {
    if (hash.digest("hex") !== entry.fingerprint) {
      throw new SourceError(
        "invalid",
        `${quotePath(entry.path)}: its content is not what was listed`,
        {
          transient: true,
        },
      );
    }
  };
  if (body instanceof Uint8Array) {
    hash.update(body);
    check();
    return body;
  }
  return (async function* () {
    for await (const chunk of body) {
      hash.update(chunk);
      yield chunk;
    }
    check();
  })();
}

function changed({ path }: FileEntry, why: string): SourceError {
  return new SourceError("changed", `${quotePath(path)}: ${why}`);
}
