/** A tree as its index pages show it, from the top downwards. */
import { type FileEntry, type SourceContext, SourceError } from "@pannier/core";
import {
  type HttpClient,
  type HttpResponse,
  inspectByHead,
  namesBelow,
  namesOf,
} from "@pannier/http-client";
import { entryByContent } from "../content.ts";
import { INDEX_TYPES, readIndex } from "./index-page.ts";
import type { IndexItem } from "./item.ts";
import type { Absences } from "./absences.ts";

/** Index pages asked for at once, and files of which their index does not tell enough. */
const REQUESTS_AT_ONCE = 8;
/** Deeper than any tree that is meant so: a link of the server that leads back up would never end. */
const MAX_DEPTH = 100;

export interface IndexWalk {
  readonly client: HttpClient;
  readonly root: URL;
  /** The directory to begin with: empty, or with a `/` at the end. */
  readonly start: string;
  readonly urlOf: (path: string) => URL;
  readonly context: SourceContext;
  readonly absences: Absences;
  readonly signal: AbortSignal;
}

interface Directory {
  /** With a `/` at the end, unless it is the root. */
  readonly path: string;
  /** Of which it is not sure that it is there. */
  readonly doubtful: boolean;
}

/**
 * Follows index pages downwards. A few are asked for ahead, but read one after the other, so that neither a large page
 * nor many of them are in memory.
 */
export async function* walkIndex(init: IndexWalk): AsyncGenerator<FileEntry[]> {
  const { client, root, urlOf, context, absences } = init;
  const giveUp = new AbortController();
  const signal = AbortSignal.any([init.signal, giveUp.signal]);
  const waiting: Directory[] = [{ path: init.start, doubtful: false }];
  const asked: { directory: Directory; url: URL; response: Promise<HttpResponse> }[] = [];
  const listing = absences.begin();

  const request = (directory: Directory) => {
    const url = directory.path === "" ? root : urlOf(directory.path);
    const headers = { accept: INDEX_TYPES };
    const response = client.request(url, { headers, operation: "list", signal });
    response.catch(() => {});
    asked.push({ directory, url, response });
  };

  try {
    while (waiting.length > 0 || asked.length > 0) {
      while (waiting.length > 0 && asked.length < REQUESTS_AT_ONCE) {
        request(waiting.pop() as Directory);
      }
      const { directory, url, response } = asked.shift() as (typeof asked)[number];
      const page = await unlessAbsent(directory, response);
      if (page === undefined) continue;
      const { path } = directory;
      if (path.split("/").length > MAX_DEPTH) {
        throw new SourceError("invalid", `the index goes deeper than ${MAX_DEPTH} directories`);
      }
      for await (const items of readIndex(page, url)) {
        for (const { name, kind, doubtful = false } of items) {
          if (kind === "directory") waiting.push({ path: `${path}${name}/`, doubtful });
        }
        const entries = await entriesOf(items, path, page);
        listing.found(entries.length);
        yield entries;
      }
    }
    listing.end();
  } finally {
    giveUp.abort();
  }

  async function unlessAbsent({ path, doubtful }: Directory, response: Promise<HttpResponse>) {
    try {
      return await response;
    } catch (error) {
      if (!doubtful || !isAbsent(error)) throw error;
      listing.leaveOut(path);
      return undefined;
    }
  }

  async function entriesOf(
    items: readonly IndexItem[],
    directory: string,
    page: HttpResponse,
  ): Promise<FileEntry[]> {
    const entries: FileEntry[] = [];
    let asking: Promise<FileEntry | undefined>[] = [];
    const settle = async () => {
      for (const entry of await Promise.all(asking)) if (entry !== undefined) entries.push(entry);
      asking = [];
    };
    for (const item of items) {
      const path = directory + item.name;
      if (item.kind === "directory") continue;
      if (item.kind === "other") {
        listing.leaveOut(path);
        continue;
      }
      const told = entryOf(item, path, page);
      if (told !== undefined && item.doubtful !== true && !listing.isDoubtful(path)) {
        entries.push(told);
        continue;
      }
      asking.push(ask(path, told));
      if (asking.length === REQUESTS_AT_ONCE) await settle();
    }
    await settle();
    return entries;
  }

  /** Where the index does not tell enough, the server is asked about the file itself. @param told what the index does tell */
  async function ask(path: string, told: FileEntry | undefined): Promise<FileEntry | undefined> {
    const url = urlOf(path);
    try {
      const resource = await context.retry(
        () => inspectByHead(client, url, "list", signal),
        signal,
      );
      if (isDirectoryOf(resource.url, url)) {
        // Not every server writes directories with a slash.
        waiting.push({ path: `${path}/`, doubtful: false });
        return undefined;
      }
      if (told !== undefined) return told;
      const { pin, size, mtime } = resource;
      if (pin === undefined) return await entryByContent(client, url, path, signal);
      return { kind: "file", path, size, mtime, fingerprint: pin, ref: pin };
    } catch (error) {
      if (!isAbsent(error)) throw error;
      listing.leaveOut(path, "absent");
      return undefined;
    }
  }
}

/** Whether a redirect led from a name to the directory of that name. */
function isDirectoryOf({ pathname }: URL, asked: URL): boolean {
  return pathname.endsWith("/") && namesBelow(pathname, namesOf(asked.pathname))?.length === 0;
}

function isAbsent(error: unknown): boolean {
  return error instanceof SourceError && error.code === "not-found";
}

function entryOf(item: IndexItem, path: string, page: HttpResponse): FileEntry | undefined {
  const { size, stamp, modified } = item;
  if (stamp === undefined || modified === undefined) return undefined;
  const { time, unit, utc } = modified;
  const date = new Date(time);
  const ref = unit === "second" ? `second ${date.toISOString()}` : `minute ${date.toISOString()}`;
  const served = Date.parse(page.headers["date"] ?? "") || Date.now();
  // A file written just now may be written again within the same tick of its date: it is looked at once more.
  const fresh = utc && Math.abs(served - time) < (unit === "second" ? 2000 : 120_000);
  const fingerprint = fresh ? `${stamp} fresh` : stamp;
  return { kind: "file", path, size, mtime: utc ? time : undefined, fingerprint, ref };
}
