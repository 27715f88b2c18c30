/** From what an index page shows to entries: the server is asked about files of which the page does not tell enough. */
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
import type { IndexItem } from "./item.ts";
import type { Absences } from "./absences.ts";
import type { Waiting } from "./waiting.ts";

/** Index pages asked for at once, and files of which their index does not tell enough. */
export const REQUESTS_AT_ONCE = 8;

export interface EntriesInit {
  readonly client: HttpClient;
  /** The directory to begin with: empty, or with a `/` at the end. */
  readonly start: string;
  readonly urlOf: (path: string) => URL;
  readonly context: SourceContext;
  /** What it leaves out is neither entered nor asked about. Its paths begin at `start`. */
  readonly scope: Scope | undefined;
  readonly signal: AbortSignal;
}

export interface EntryReader {
  /**
   * The files of a part of a page. Its directories are added to those that wait.
   *
   * @param directory the page's, empty or with a `/` at the end
   * @returns the entries, and whether something was passed over that is not wanted
   */
  entries(
    items: readonly IndexItem[],
    directory: string,
    page: HttpResponse,
  ): Promise<{ readonly entries: FileEntry[]; readonly passed: boolean }>;
  /** The page at the top has ended: there is no ignore file beyond what came. */
  endTop(): Promise<void>;
}

export function readEntries(
  init: EntriesInit,
  waiting: Waiting,
  listing: ReturnType<Absences["begin"]>,
): EntryReader {
  const { start, scope } = init;
  const ignoreFile = start + IGNORE_FILE;
  /** Whether the ignore file has been seen. */
  let ignoreFileSeen = false;
  /** What is wrong at the top, where an ignore file that comes later may yet leave it out. */
  let early: { readonly error: unknown } | undefined;

  const wants = (path: string) => scope?.wants(path.slice(start.length)) !== false;
  const enters = (path: string) => scope?.enters(path.slice(start.length)) !== false;

  const fail = (directory: string, error: unknown) => {
    if (scope === undefined || ignoreFileSeen || directory !== start) throw error;
    early ??= { error };
  };

  const ask = (directory: string, name: string, listed: FileEntry | undefined) => {
    const path = directory + name;
    return askAbout(path, listed, init, {
      // Not every server writes directories with a slash.
      directory: () => enters(path) && waiting.add(directory, name, false),
      absent: () => listing.leaveOut(path, "absent"),
    });
  };

  async function entriesOf(items: readonly IndexItem[], directory: string, page: HttpResponse) {
    const entries: FileEntry[] = [];
    let passed = false;
    let asking: Promise<FileEntry | undefined>[] = [];
    const collect = async () => {
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
        ignoreFileSeen = true;
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
      const listed =
        kind === "file" && failure === undefined ? entryOf(item, path, page) : undefined;
      if (listed !== undefined && doubtful !== true && !listing.isDoubtful(path)) {
        entries.push(listed);
        continue;
      }
      // What is listed as a file may be a directory, and what is wanted be in it.
      if (!wants(path) && (kind === "other" || !enters(path))) {
        passed = true;
        continue;
      }
      if (failure !== undefined) fail(directory, failure);
      else if (kind === "other") listing.leaveOut(path);
      else {
        const answer = ask(directory, name, listed);
        // Looked at below; a failure before that must not count as unhandled.
        answer.catch(() => {});
        asking.push(answer);
      }
      if (asking.length === REQUESTS_AT_ONCE) await collect();
    }
    await collect();
    return { entries, passed };
  }

  return {
    entries: entriesOf,
    async endTop() {
      if (!ignoreFileSeen) await scope?.ignoreFile(undefined);
      if (early !== undefined) throw early.error;
    },
  };
}

/**
 * Asks the server about a file of which the index does not tell enough.
 *
 * @param listed what the index does tell
 * @returns `undefined` where it is a directory, or not there
 */
async function askAbout(
  path: string,
  listed: FileEntry | undefined,
  { client, urlOf, context, signal }: EntriesInit,
  on: { directory(): void; absent(): void },
): Promise<FileEntry | undefined> {
  const url = urlOf(path);
  try {
    const resource = await context.retry(() => inspectByHead(client, url, "list", signal), signal);
    if (isDirectoryOf(resource.url, url)) {
      on.directory();
      return undefined;
    }
    if (listed !== undefined) return listed;
    const { validator, fingerprint, size, mtime } = resource;
    if (fingerprint === undefined) return await entryByContent(client, url, path, signal);
    return { kind: "file", path, size, mtime, fingerprint, ref: validator };
  } catch (error) {
    if (!isAbsent(error)) throw error;
    on.absent();
    return undefined;
  }
}

/** Whether a redirect led from a name to the directory of that name. */
function isDirectoryOf({ pathname }: URL, asked: URL): boolean {
  return pathname.endsWith("/") && namesBelow(pathname, namesOf(asked.pathname))?.length === 0;
}

export function isAbsent(error: unknown): boolean {
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
