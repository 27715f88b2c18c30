/** Collections as entries: all at once where the server allows that, otherwise one by one. */
import {
  type Entry,
  IGNORE_FILE,
  quotePath,
  type Scope,
  SourceError,
  type SourceContext,
} from "@pannier/core/adapter";
import {
  type HttpResponse,
  namesBelow,
  namesOf,
  serverTime,
  statusError,
  UnreadableName,
} from "@pannier/http-client";
import { type DirectoryItem, failedItem, walk } from "@pannier/file-server";
import { parseMultistatus, type Resource } from "./multistatus.ts";
import { encodePath } from "./request.ts";
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
  /** Of the source's root as it is asked for, percent-encoded, with a `/` at the end. */
  readonly base: string;
  /** The same as the server names it, decoded. */
  readonly own: readonly string[];
  readonly scope: Scope | undefined;
  readonly signal: AbortSignal;
}

/** Statuses by which servers say that they do not list all at once: RFC 4918, 9.1, and what others make of it. */
export const NO_DEPTH: readonly number[] = [400, 403, 405, 501];

/** Problems in one answer that wait for its end. */
const MOST_PROBLEMS = 1000;

/** Collections in one answer: a listing without end may consist of them, and the engine counts files. */
const MOST_COLLECTIONS = 1_000_000;

/** Of the deepest collections that an answer shows, how many are asked what is in them; of more, all are walked. */
const MOST_ENDS = 1000;

/** What the answer to `Depth: infinity` holds. May not be in order. */
export async function* listDeep(
  response: HttpResponse,
  listing: Listing,
): AsyncGenerator<readonly Entry[]> {
  const { scope } = listing;
  const problems: { path: string; kind: string; error: unknown }[] = [];
  let collections = 0;
  const ends = deepest();
  const now = serverTime(response);
  for await (const resources of resourcesOf(response)) {
    const entries: Entry[] = [];
    for (const resource of resources) {
      const { path, unreadable } = locate(resource.href, listing.own);
      if (path === "") continue;
      const error = unreadable ?? problemOf(resource, path);
      if (error !== undefined) {
        problems.push({ path, kind: likelyKind(resource), error });
        // Those of which the ignore file may yet say that they are not wanted.
        if (problems.length > MOST_PROBLEMS) throw problems[0]?.error;
      } else if (isCollection(resource)) {
        collections++;
        ends.add(path);
      } else {
        ends.pass(path);
        const entry = toEntry(resource, path, now);
        entries.push(entry);
        if (path === IGNORE_FILE) await scope?.ignoreFile(entry);
      }
    }
    if (collections > MOST_COLLECTIONS) {
      throw new SourceError(
        "invalid",
        `the server lists more than ${MOST_COLLECTIONS} collections`,
      );
    }
    yield entries;
  }
  const problem = problems.find(
    ({ path, kind }) =>
      (kind !== "directory" && scope?.wants(path) !== false) ||
      (kind !== "entry" && scope?.enters(path) !== false),
  );
  if (problem !== undefined) throw problem.error;
  // What is listed twice counts once.
  if (await isCut(ends.paths(), listing)) yield* listWalked(listing);
}

/** The collections of the deepest level that an answer shows. Of all others it would show what is in them. */
function deepest() {
  let depth = 0;
  let paths: string[] = [];
  function pass(path: string): void {
    const level = levelOf(path);
    if (level <= depth) return;
    depth = level;
    paths = [];
  }
  return {
    pass,
    add(path: string): void {
      pass(path);
      if (levelOf(path) === depth && paths.length <= MOST_ENDS) paths.push(path);
    },
    paths: (): readonly string[] => paths,
  };
}

function levelOf(path: string): number {
  return path.split("/").length;
}

/** Whether a server did not list all: there are those that take infinity for one level, and Tomcat takes it for three, without a word. */
async function isCut(ends: readonly string[], listing: Listing): Promise<boolean> {
  const { scope, retry, signal } = listing;
  if (ends.length > MOST_ENDS) return true;
  const wanted = ends.filter((path) => scope?.enters(path) !== false);
  for (let at = 0; at < wanted.length; at += CONCURRENCY) {
    const found = await Promise.all(
      wanted
        .slice(at, at + CONCURRENCY)
        .map((path) => retry(() => readCollection(listing, `${path}/`, signal, () => {}), signal)),
    );
    if (found.some((items) => items !== undefined && items.length > 0)) return true;
  }
  return false;
}

/** Collection by collection, in order. */
export function listWalked(listing: Listing): AsyncGenerator<readonly Entry[]> {
  return walk({
    read: (prefix, signal, count) =>
      listing.retry(() => readCollection(listing, prefix, signal, count), signal),
    concurrency: CONCURRENCY,
    scope: listing.scope,
    signal: listing.signal,
  });
}

async function readCollection(
  { propfind, base, own }: Listing,
  prefix: string,
  signal: AbortSignal,
  count: (names: number, characters: number) => void,
): Promise<readonly DirectoryItem[] | undefined> {
  const items: DirectoryItem[] = [];
  const names = new Set<string>();
  const asked = base + encodePath(prefix);
  const here = [...own, ...prefix.split("/").filter((segment) => segment !== "")];
  let response: HttpResponse;
  try {
    response = await propfind(asked, "1", signal);
  } catch (error) {
    // Gone since its name was read; the root has to be there.
    if (prefix !== "" && error instanceof SourceError && error.code === "not-found")
      return undefined;
    throw error;
  }
  let sawItself = false;
  const now = serverTime(response);
  for await (const resources of resourcesOf(response)) {
    for (const resource of resources) {
      const { path: name, unreadable } = locate(resource.href, here);
      if (name === "") {
        sawItself = true;
        if (!isCollection(resource))
          throw new SourceError("changed", `${quotePath(prefix)} was replaced while it was listed`);
        continue;
      }
      count(1, name.length);
      if (unreadable === undefined && names.has(name)) {
        throw new SourceError("invalid", `the server lists ${quotePath(prefix + name)} twice`, {
          hint: FAULT,
        });
      }
      names.add(name);
      const failure = unreadable ?? problemOf(resource, prefix + name);
      if (failure !== undefined) {
        const kind = likelyKind(resource);
        items.push(kind === "entry" ? failedItem(name, failure) : { kind, name, failure });
      } else if (isCollection(resource)) items.push({ kind: "directory", name });
      else items.push({ kind: "entry", name, entry: (path) => toEntry(resource, path, now) });
    }
  }
  // Some servers leave it out. That nothing at all is said of it is no proof that there is nothing in it.
  if (!sawItself && items.length === 0) await checkCollection(propfind, asked, prefix, signal);
  return items;
}

/** @throws where the server does not say that a collection is there */
async function checkCollection(
  propfind: Propfind,
  asked: string,
  prefix: string,
  signal: AbortSignal,
): Promise<void> {
  const found: Resource[] = [];
  for await (const resources of resourcesOf(await propfind(asked, "0", signal))) {
    found.push(...resources);
  }
  const [own] = found;
  if (found.length !== 1 || own === undefined || !isCollection(own)) {
    throw new SourceError("invalid", `the server says nothing of ${quotePath(prefix || "/")}`, {
      hint: FAULT,
    });
  }
}

const FAULT = "this is a fault of the server: ask who runs it";

/** @throws SourceError `invalid` where the server does not tell what a resource is */
export function isCollection(resource: Resource): boolean {
  if (resource.collection !== undefined) return resource.collection;
  throw kindUntold(resource);
}

/** Of a resource that cannot be listed; by its name, where the server says no more. */
function likelyKind({ href, collection }: Resource): "directory" | "entry" | "unknown" {
  if (collection ?? href.endsWith("/")) return "directory";
  return collection === false ? "entry" : "unknown";
}

function kindUntold({ href }: Resource): SourceError {
  return new SourceError(
    "invalid",
    `the server does not say whether ${quotePath(href)} is a file or a collection`,
    { hint: FAULT },
  );
}

/** What a server says of its resources, read to the end. */
export async function* resourcesOf(response: HttpResponse): AsyncGenerator<readonly Resource[]> {
  try {
    yield* parseMultistatus(response.body);
  } finally {
    await response.discard();
  }
}

/** @param now the server's time when it answered, in milliseconds */
export function toEntry({ size, modified, etag }: Resource, path: string, now: number): Entry {
  const time = Date.parse(modified ?? "");
  const mtime = Number.isNaN(time) ? undefined : time;
  const fingerprint = fingerprintOf({ size, mtime, etag }, path, now);
  return { kind: "file", path, size, mtime, fingerprint };
}

/** Of one whose status says that nothing can be said, the listing would lack what is below; nor may it be one of no kind. */
function problemOf(resource: Resource, path: string): SourceError | undefined {
  const { status } = resource;
  if (status !== undefined && !(status >= 200 && status < 300)) {
    return statusError(status, {}, `${quotePath(path)}: `);
  }
  return resource.collection === undefined ? kindUntold(resource) : undefined;
}

/**
 * The path of a resource below a collection, decoded; empty for the collection itself.
 *
 * @param own the collection's segments, decoded
 * @throws SourceError `invalid` where it is not below, or is not a path
 */
export function pathBelow(href: string, own: readonly string[]): string {
  const names = namesBelow(pathOf(href), own);
  if (names === undefined) throw misplaced(href, own);
  return names.join("/");
}

/** The same, and what is wrong with it where it can be read in part only: it may not be wanted. */
function locate(
  href: string,
  own: readonly string[],
): { readonly path: string; readonly unreadable?: UnreadableName } {
  try {
    return { path: pathBelow(href, own) };
  } catch (error) {
    if (!(error instanceof UnreadableName)) throw error;
    return { path: error.names.join("/"), unreadable: error };
  }
}

/** The names in a href. @throws SourceError `invalid` where one of them is not a name */
export function namesIn(href: string): string[] {
  return namesOf(pathOf(href));
}

/** Only the path counts: behind a proxy, servers give whatever host they take themselves for. */
function pathOf(href: string): string {
  const path = href.replace(/^[a-z][a-z0-9+.-]*:\/\/[^/]*/i, "");
  // Some servers do not encode: what an encoded path cannot hold gives them away.
  return /[ "<>#?]/.test(path) ? path.replaceAll("%", "%25") : path;
}

function misplaced(href: string, own: readonly string[]): SourceError {
  const base = `/${own.join("/")}`;
  return new SourceError(
    "invalid",
    `the server lists ${quotePath(href)}, which is not below ${quotePath(base)}`,
    { hint: "a proxy in front of the server may have to leave paths as they are" },
  );
}
