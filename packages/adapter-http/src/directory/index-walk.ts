/** A tree as its index pages show it, from the top downwards. */
import {
  type FileEntry,
  IGNORE_FILE,
  type Scope,
  type SourceContext,
  SourceError,
} from "@pannier/core/adapter";
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
/** Directories one after the other in which there is no file. */
const MOST_EMPTY = 10_000;
/** What the names of directories that wait to be asked for may take, in bytes or so: some 400,000. */
const MOST_WAITING = 32 * 1024 * 1024;
const NAME_COST = 64;

export interface IndexWalk {
  readonly client: HttpClient;
  readonly root: URL;
  /** The directory to begin with: empty, or with a `/` at the end. */
  readonly start: string;
  readonly urlOf: (path: string) => URL;
  readonly context: SourceContext;
  readonly absences: Absences;
  /** What it leaves out is neither entered nor asked about. Its paths begin at `start`. */
  readonly scope: Scope | undefined;
  readonly signal: AbortSignal;
}

interface Directory {
  /** With a `/` at the end, unless it is the root. */
  readonly path: string;
  /** Of which it is not sure that it is there. */
  readonly doubtful: boolean;
}

/** Directories that are still to be asked for: those found last come first. */
interface Waiting {
  readonly size: number;
  /** Adds one that is in the directory at `path`. @throws SourceError `invalid` where there are too many */
  add(path: string, name: string, doubtful: boolean): void;
  take(): Directory | undefined;
}

function createWaiting(): Waiting {
  // Names only, by the directory that they are in: a path is far longer.
  const folders: {
    readonly path: string;
    readonly names: string[];
    readonly doubtful: Set<string>;
  }[] = [];
  let size = 0;
  let cost = 0;
  return {
    get size() {
      return size;
    },
    add(path, name, doubtful) {
      size++;
      cost += name.length + NAME_COST;
      if (cost > MOST_WAITING) {
        throw new SourceError(
          "invalid",
          `the index shows ever more directories: ${size} are waiting`,
          {
            hint: "name a directory further down in the URL, or put a SHA256SUMS file there",
          },
        );
      }
      let folder = folders.at(-1);
      if (folder?.path !== path) folders.push((folder = { path, names: [], doubtful: new Set() }));
      folder.names.push(name);
      if (doubtful) folder.doubtful.add(name);
    },
    take() {
      const folder = folders.at(-1);
      const name = folder?.names.pop();
      if (folder === undefined || name === undefined) return undefined;
      size--;
      cost -= name.length + NAME_COST;
      if (folder.names.length === 0) folders.pop();
      return { path: `${folder.path}${name}/`, doubtful: folder.doubtful.has(name) };
    },
  };
}

/**
 * Follows index pages downwards. A few are asked for ahead, but read one after the other, so that neither a large page
 * nor many of them are in memory.
 */
export async function* walkIndex(init: IndexWalk): AsyncGenerator<FileEntry[]> {
  const { client, root, start, urlOf, context, absences, scope } = init;
  const giveUp = new AbortController();
  const signal = AbortSignal.any([init.signal, giveUp.signal]);
  const waiting = createWaiting();
  const asked: { directory: Directory; url: URL; response: Promise<HttpResponse> }[] = [];
  const listing = absences.begin();

  const ignoreFile = start + IGNORE_FILE;
  /** Whether the ignore file has been seen. */
  let ignoreFileTold = false;
  /** What is wrong at the top, where an ignore file that comes later may yet leave it out. */
  let early: { readonly error: unknown } | undefined;

  const wants = (path: string) => scope?.wants(path.slice(start.length)) !== false;
  const enters = (path: string) => scope?.enters(path.slice(start.length)) !== false;

  const fail = (directory: string, error: unknown) => {
    if (scope === undefined || ignoreFileTold || directory !== start) throw error;
    early ??= { error };
  };

  const request = (directory: Directory) => {
    const url = directory.path === "" ? root : urlOf(directory.path);
    const headers = { accept: INDEX_TYPES };
    const response = client.request(url, { headers, operation: "list", signal });
    response.catch(() => {});
    asked.push({ directory, url, response });
  };

  let empty = 0;
  try {
    request({ path: start, doubtful: false });
    while (waiting.size > 0 || asked.length > 0) {
      while (asked.length < REQUESTS_AT_ONCE) {
        const next = waiting.take();
        if (next === undefined) break;
        request(next);
      }
      const { directory, url, response } = asked.shift() as (typeof asked)[number];
      const page = await unlessAbsent(directory, response);
      if (page === undefined) continue;
      const { path } = directory;
      if (path.split("/").length > MAX_DEPTH) {
        throw new SourceError("invalid", `the index goes deeper than ${MAX_DEPTH} directories`);
      }
      if (++empty > MOST_EMPTY) {
        const what = `the index leads through ${MOST_EMPTY} directories without a file`;
        throw new SourceError("invalid", what);
      }
      for await (const items of readIndex(page, url)) {
        const entries = await entriesOf(items, path, page);
        listing.found(entries.length);
        if (entries.length > 0) empty = 0;
        yield entries;
      }
      if (path !== start) continue;
      if (!ignoreFileTold) await scope?.ignoreFile(undefined);
      if (early !== undefined) throw early.error;
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
      for (const answer of await Promise.allSettled(asking)) {
        if (answer.status === "rejected") fail(directory, answer.reason);
        else if (answer.value !== undefined) entries.push(answer.value);
      }
      asking = [];
    };
    for (const item of items) {
      const { name, kind, failure, doubtful } = item;
      const path = directory + name;
      if (path === ignoreFile && kind === "file") {
        const entry = entryOf(item, path, page) ?? (await ask(directory, name, undefined));
        await scope?.ignoreFile(entry === undefined ? undefined : { ...entry, path: IGNORE_FILE });
        ignoreFileTold = true;
        if (entry !== undefined) entries.push(entry);
        continue;
      }
      if (early !== undefined) continue;
      if (kind === "directory") {
        if (!enters(path)) continue;
        if (failure !== undefined) fail(directory, failure);
        else waiting.add(directory, name, doubtful === true);
        continue;
      }
      const told = kind === "file" && failure === undefined ? entryOf(item, path, page) : undefined;
      if (told !== undefined && doubtful !== true && !listing.isDoubtful(path)) {
        entries.push(told);
        continue;
      }
      // What is listed as a file may be a directory, and what is wanted be in it.
      if (!wants(path) && (kind === "other" || !enters(path))) {
        empty = 0;
        continue;
      }
      if (failure !== undefined) fail(directory, failure);
      else if (kind === "other") listing.leaveOut(path);
      else {
        const answer = ask(directory, name, told);
        // Looked at below; a failure before that must not count as unhandled.
        answer.catch(() => {});
        asking.push(answer);
      }
      if (asking.length === REQUESTS_AT_ONCE) await settle();
    }
    await settle();
    return entries;
  }

  /** Where the index does not tell enough, the server is asked about the file itself. @param told what the index does tell */
  async function ask(
    directory: string,
    name: string,
    told: FileEntry | undefined,
  ): Promise<FileEntry | undefined> {
    const path = directory + name;
    const url = urlOf(path);
    try {
      const resource = await context.retry(
        () => inspectByHead(client, url, "list", signal),
        signal,
      );
      if (isDirectoryOf(resource.url, url)) {
        // Not every server writes directories with a slash.
        if (enters(path)) waiting.add(directory, name, false);
        return undefined;
      }
      if (told !== undefined) return told;
      const { validator, fingerprint, size, mtime } = resource;
      if (fingerprint === undefined) return await entryByContent(client, url, path, signal);
      return { kind: "file", path, size, mtime, fingerprint, ref: validator };
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
