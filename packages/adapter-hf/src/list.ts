/** The files of a repository as entries. */
import { type Entry, type FileEntry, SourceError, type SourceContext } from "@pannier/core/adapter";
import type { Hub, Item } from "./hub.ts";

/** Pages of a listing. A thousand files each: far more than a repository may have. */
const MOST_PAGES = 100_000;

/** What there is below a directory. */
export async function* listDirectory(
  hub: Hub,
  commit: string,
  path: string,
  retry: SourceContext["retry"],
  signal: AbortSignal,
): AsyncGenerator<readonly Entry[]> {
  let cursor: string | undefined;
  for (let pages = 0; pages < MOST_PAGES; pages++) {
    const from = cursor;
    const { items, next } = await retry(() => hub.page(commit, from, signal), signal);
    yield entriesOf(items, path === "" ? "" : `${path}/`);
    if (next === undefined) return;
    if (next === cursor) break;
    cursor = next;
  }
  throw new SourceError("invalid", "the Hub's listing does not end");
}

function entriesOf(items: readonly Item[], prefix: string): readonly Entry[] {
  const entries: Entry[] = [];
  for (const item of items) {
    if (item.type === "directory") continue;
    if (!item.path.startsWith(prefix)) {
      throw new SourceError("invalid", "the Hub lists what is not below the path it was asked for");
    }
    entries.push(entryOf(item, item.path.slice(prefix.length)));
  }
  return entries;
}

/** A submodule or whatever else the Hub may come to hold is no file that could be fetched. */
export function entryOf({ type, size, oid, lfs }: Item, path: string): FileEntry {
  if (type !== "file") {
    throw new SourceError("unsupported", `"${path}" is neither a file nor a directory (${type})`, {
      hint: "exclude it",
    });
  }
  if (lfs === undefined || lfs === null) return { kind: "file", path, size, fingerprint: oid };
  const digest = { algorithm: "sha256", value: lfs.oid } as const;
  return { kind: "file", path, size: lfs.size, fingerprint: lfs.oid, digest };
}
