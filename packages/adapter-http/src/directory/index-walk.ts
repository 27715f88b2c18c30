/** A tree as its index pages show it, from the top downwards. */
import { type FileEntry, SourceError } from "@pannier/core/adapter";
import type { HttpResponse } from "@pannier/http-client";
import { type EntriesInit, isAbsent, readEntries, REQUESTS_AT_ONCE } from "./index-entries.ts";
import { INDEX_TYPES, readIndex } from "./index-page.ts";
import type { Absences } from "./absences.ts";
import { createWaiting, type Directory } from "./waiting.ts";

/** Deeper than any tree that is meant so: a link of the server that leads back up would never end. */
const MAX_DEPTH = 100;
/** Directories one after the other in which there is no file. */
const MOST_EMPTY = 10_000;

export interface IndexWalk extends EntriesInit {
  readonly root: URL;
  readonly absences: Absences;
}

/**
 * Follows index pages downwards. A few are asked for ahead, but read one after the other, so that neither a large page
 * nor many of them are in memory.
 */
export async function* walkIndex(init: IndexWalk): AsyncGenerator<FileEntry[]> {
  const { client, root, start, urlOf, absences } = init;
  const giveUp = new AbortController();
  const signal = AbortSignal.any([init.signal, giveUp.signal]);
  const waiting = createWaiting();
  const asked: { directory: Directory; url: URL; response: Promise<HttpResponse> }[] = [];
  const listing = absences.begin();

  const reader = readEntries({ ...init, signal }, waiting, listing);
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
        const { entries, passed } = await reader.entries(items, path, page);
        listing.found(entries.length);
        if (entries.length > 0 || passed) empty = 0;
        yield entries;
      }
      if (path === start) await reader.endTop();
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
}
