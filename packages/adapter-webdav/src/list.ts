/** Collections as entries: all at once where the server allows that, otherwise one by one. */
import { type Entry, quotePath, SourceError, type SourceContext } from "@pannier/core";
import { type HttpResponse, namesBelow, namesOf, statusError } from "@pannier/http-client";
import { type DirectoryItem, walk } from "@pannier/walk";
import { parseMultistatus, type Resource } from "./multistatus.ts";
import { fingerprintOf } from "./version.ts";

/** Collections at once. */
const CONCURRENCY = 16;

export type Propfind = (
  path: string,
  depth: "0" | "1" | "infinity",
  signal: AbortSignal,
) => Promise<HttpResponse>;

export interface Listing {
  readonly propfind: Propfind;
  readonly retry: SourceContext["retry"];
  /** Of the source's root as the server names it, percent-encoded, with a `/` at the end. */
  readonly base: string;
  readonly signal: AbortSignal;
}

/** Statuses by which servers say that they do not list all at once: RFC 4918, 9.1, and what others make of it. */
export const NO_DEPTH: readonly number[] = [400, 403, 405, 501];

/** What the answer to `Depth: infinity` holds. May not be in order. */
export async function* listDeep(
  response: HttpResponse,
  listing: Listing,
): AsyncGenerator<readonly Entry[]> {
  let collections = false;
  let deeper = false;
  for await (const resources of resourcesOf(response)) {
    const entries: Entry[] = [];
    for (const resource of resources) {
      const path = pathBelow(resource.href, listing.base);
      if (path === "") continue;
      checkStatus(resource, path);
      if (resource.collection) collections = true;
      else entries.push(toEntry(resource, path));
      deeper ||= path.includes("/");
    }
    yield entries;
  }
  // There are servers that take infinity for one level. What is listed twice counts once.
  if (collections && !deeper) yield* listWalked(listing);
}

/** Collection by collection, in order. */
export function listWalked(listing: Listing): AsyncGenerator<readonly Entry[]> {
  return walk({
    read: (prefix, signal) => listing.retry(() => readCollection(listing, prefix, signal), signal),
    concurrency: CONCURRENCY,
    signal: listing.signal,
  });
}

async function readCollection(
  { propfind, base }: Listing,
  prefix: string,
  signal: AbortSignal,
): Promise<readonly DirectoryItem[] | undefined> {
  const items: DirectoryItem[] = [];
  const own = base + encodePath(prefix);
  let response: HttpResponse;
  try {
    response = await propfind(own, "1", signal);
  } catch (error) {
    // Gone since its name was read; the root has to be there.
    if (prefix !== "" && error instanceof SourceError && error.code === "not-found")
      return undefined;
    throw error;
  }
  let sawItself = false;
  for await (const resources of resourcesOf(response)) {
    for (const resource of resources) {
      const name = pathBelow(resource.href, own);
      if (name === "") {
        sawItself = true;
        if (!resource.collection)
          throw new SourceError("changed", `${quotePath(prefix)} was replaced while it was listed`);
        continue;
      }
      checkStatus(resource, prefix + name);
      if (resource.collection) items.push({ kind: "directory", name });
      else items.push({ kind: "entry", name, entry: (path) => toEntry(resource, path) });
    }
  }
  if (!sawItself) throw misplaced(own);
  return items;
}

/** What a server says of its resources, read to the end. */
export async function* resourcesOf(response: HttpResponse): AsyncGenerator<readonly Resource[]> {
  try {
    yield* parseMultistatus(response.body);
  } finally {
    await response.discard();
  }
}

export function toEntry({ size, modified, etag }: Resource, path: string): Entry {
  const mtime = Date.parse(modified ?? "");
  const facts = { size, mtime: Number.isNaN(mtime) ? undefined : mtime, etag };
  return {
    kind: "file",
    path,
    size,
    mtime: facts.mtime,
    fingerprint: fingerprintOf(facts, Date.now()),
  };
}

/** Of one whose status says that nothing can be said, the listing would lack what is below. */
function checkStatus({ status }: Resource, path: string): void {
  if (status !== undefined && status >= 300) throw statusError(status, {}, `${quotePath(path)}: `);
}

/**
 * The path of a resource below a collection, decoded; empty for the collection itself.
 *
 * @param base percent-encoded, with a `/` at the end
 * @throws SourceError `invalid` where it is not below, or is not a path
 */
export function pathBelow(href: string, base: string): string {
  // Only the path counts: behind a proxy, servers give whatever host they take themselves for.
  const path = href.replace(/^[a-z][a-z0-9+.-]*:\/\/[^/]*/i, "").replace(/[?#].*$/s, "");
  const names = namesBelow(path, namesOf(base));
  if (names === undefined) throw misplaced(base);
  return names.join("/");
}

function misplaced(base: string): SourceError {
  return new SourceError(
    "invalid",
    `the server lists something that is not below ${quotePath(base)}`,
    {
      hint: "a proxy in front of the server may have to leave paths as they are",
    },
  );
}

export function encodePath(path: string): string {
  return path.split("/").map(encodeURIComponent).join("/");
}
