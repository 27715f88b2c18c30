/** The files of a repository as entries. */
import {
  type Entry,
  type FileEntry,
  IGNORE_FILE,
  quotePath,
  type Scope,
  SourceError,
  type SourceContext,
} from "@pannier/core/adapter";
import type { Hub, Item } from "./hub.ts";

/** Pages of a listing. A thousand files each: far more than a repository may have. */
const MOST_PAGES = 100_000;
/** Of what is neither a file nor a directory, in one listing. */
const MOST_OTHERS = 1000;

export interface DirectoryInit {
  readonly hub: Hub;
  readonly commit: string;
  /** In the repository; empty for all of it. */
  readonly path: string;
  readonly retry: SourceContext["retry"];
  readonly scope: Scope | undefined;
}

/** What there is below a directory. Whether what is no file is wanted is asked at the end, when the repository's own ignore file is known. */
export async function* listDirectory(
  { hub, commit, path, retry, scope }: DirectoryInit,
  signal: AbortSignal,
): AsyncGenerator<readonly Entry[]> {
  const prefix = path === "" ? "" : `${path}/`;
  const others: { readonly type: string; readonly path: string }[] = [];
  let ignoreFile: Entry | undefined;
  let cursor: string | undefined;
  for (let pages = 0; pages < MOST_PAGES; pages++) {
    const from = cursor;
    const { items, next } = await retry(() => hub.page(commit, from, signal), signal);
    const entries: Entry[] = [];
    for (const item of items) {
      if (item.type === "directory") continue;
      if (!item.path.startsWith(prefix)) throw misplaced();
      const name = item.path.slice(prefix.length);
      if (item.type === "file") {
        const entry = entryOf(item, name);
        if (name === IGNORE_FILE) ignoreFile = entry;
        entries.push(entry);
      } else {
        others.push({ type: item.type, path: name });
        if (scope === undefined || others.length > MOST_OTHERS) throw noFile(item.type, name);
      }
    }
    yield entries;
    if (next === undefined) {
      if (others.length === 0) return;
      await scope?.ignoreFile(ignoreFile);
      const wanted = others.find((one) => scope?.wants(one.path) || scope?.enters(one.path));
      if (wanted !== undefined) throw noFile(wanted.type, wanted.path);
      return;
    }
    if (next === cursor) break;
    cursor = next;
  }
  throw new SourceError("invalid", "the Hub's listing does not end");
}

function misplaced(): SourceError {
  return new SourceError("invalid", "the Hub lists what is not below the path it was asked for");
}

/** A submodule or whatever else the Hub may come to hold is no file that could be fetched. */
function noFile(type: string, path: string): SourceError {
  return new SourceError(
    "unsupported",
    `${quotePath(path)} is neither a file nor a directory (${type})`,
    { hint: "exclude it" },
  );
}

export function entryOf({ type, size, oid, lfs }: Item, path: string): FileEntry {
  if (type !== "file") throw noFile(type, path);
  if (lfs === undefined || lfs === null) return { kind: "file", path, size, fingerprint: oid };
  const digest = { algorithm: "sha256", value: lfs.oid } as const;
  return { kind: "file", path, size: lfs.size, fingerprint: lfs.oid, digest };
}
