/** What the long watch told of one scope: enough to say what changed since a listing, without another one. */
import type { FileEntry } from "@pannier/core/adapter";
import { isOlder } from "./api.ts";
import { entriesOf, idOf, type KubeObject, type Layout } from "./objects.ts";

/** Objects that changed. With more, a listing is hardly dearer. */
const MOST_OBJECTS = 1000;
/** Files of them: a single object may have 100,000. */
const MOST_FILES = 10_000;
/** Bytes of content that wait to be read. What is beyond is asked for again. */
export const MOST_BYTES = 4 << 20;
/** For the names of a content. */
const OVERHEAD = 512;

/** The last that happened to an object. */
export interface Told {
  readonly version: string;
  /** True where it is gone, or is selected no more. */
  readonly deleted: boolean;
  /** @throws SourceError where the object's annotation names a directory that cannot be meant */
  readonly entries: () => readonly FileEntry[];
}

/** What happened after one resourceVersion. */
interface Changes {
  /** By the ID of the object. */
  readonly objects: ReadonlyMap<string, Told>;
  /** Until when. */
  readonly until: string;
}

export interface Journal {
  /** A watch begins at a resourceVersion. What was before may have been missed. */
  begin(version: string): void;
  /** A watch ended before its time, or goes on where one did: what a listing said that was begun before is no longer sure. */
  resume(version: string): void;
  /**
   * Another number after each {@link Journal.resume}. The state of the server may be an earlier one since, restored from a backup, and
   * may have come to the same resourceVersion by another way. So what is told here goes on from a listing only if that was begun in
   * the same era.
   */
  readonly era: number;
  /**
   * The watch told of an object.
   *
   * @param shown true where a listing has this already
   */
  tell(object: KubeObject, how: { deleted: boolean; version: string; shown: boolean }): void;
  /** The watch told that nothing else happened until then. */
  quiet(version: string): void;
  /** The resourceVersion of the last that happened; `undefined` where nothing did. */
  readonly last: string | undefined;
  /**
   * Until when nothing happened after a resourceVersion; `undefined` where that is not sure.
   *
   * @param era in which that was listed
   */
  quietSince(version: string, era: number | undefined): string | undefined;
  /** What happened after `from`, at least until `until`; `undefined` where that is not sure. @param era in which `from` was listed */
  changes(from: string, until: string, era: number | undefined): Changes | undefined;
  /** An object that the watch told of, where there was room for its content. */
  get(id: string): KubeObject | undefined;
  /** What happened until then is published. */
  forget(version: string): void;
}

interface Noted extends Told {
  readonly object: KubeObject | undefined;
  readonly bytes: number;
  readonly files: number;
}

/** @param most bytes of content */
export function createJournal(layout: Layout, most: number): Journal {
  /** All that happened after `start` and until `head` is here, the last of each object. */
  const objects = new Map<string, Noted>();
  let start: string | undefined;
  let era = 0;
  let head = "0";
  let last: string | undefined;
  let bytes = 0;
  let files = 0;

  function begin(version: string): void {
    clear();
    start = version;
    head = version;
    last = undefined;
  }

  function clear(): void {
    objects.clear();
    bytes = 0;
    files = 0;
  }

  function drop(id: string): void {
    bytes -= objects.get(id)?.bytes ?? 0;
    files -= objects.get(id)?.files ?? 0;
    objects.delete(id);
  }

  function isSureFrom(version: string, listed: number | undefined): boolean {
    return listed === era && start !== undefined && !isOlder(version, start);
  }

  function startFrom(version: string): void {
    if (start === undefined || isOlder(start, version)) start = version;
  }

  return {
    begin,
    resume(version) {
      begin(version);
      era++;
    },
    get era() {
      return era;
    },
    tell(object, { deleted, version, shown }) {
      // They come in order, unless the cluster was restored from a backup.
      if (!isOlder(head, version)) begin(version);
      head = version;
      last = version;
      const id = idOf(object);
      drop(id);
      const count = deleted ? 0 : object.content.size;
      if (shown || objects.size >= MOST_OBJECTS || files + count > MOST_FILES) {
        clear();
        startFrom(version);
        return;
      }
      const size = deleted ? 0 : sizeOf(object);
      const isKept = !deleted && bytes + size <= most;
      if (isKept) bytes += size;
      files += count;
      objects.set(id, {
        version,
        deleted,
        entries: deleted ? () => [] : settled(() => entriesOf(object, layout)),
        object: isKept ? object : undefined,
        bytes: isKept ? size : 0,
        files: count,
      });
    },
    quiet(version) {
      if (isOlder(version, head)) begin(version);
      head = version;
    },
    get last() {
      return last;
    },
    quietSince(version, listed) {
      const happened = last !== undefined && isOlder(version, last);
      return isSureFrom(version, listed) && !happened && isOlder(version, head) ? head : undefined;
    },
    changes(from, until, listed) {
      if (!isSureFrom(from, listed) || isOlder(head, from) || isOlder(head, until))
        return undefined;
      const since = [...objects].filter(([, { version }]) => isOlder(from, version));
      return { objects: new Map(since), until: head };
    },
    get: (id) => objects.get(id)?.object,
    forget(version) {
      if (start === undefined) return;
      startFrom(version);
      for (const [id, told] of objects) if (!isOlder(version, told.version)) drop(id);
    },
  };
}

function sizeOf({ content }: KubeObject): number {
  let size = OVERHEAD;
  for (const value of content.values()) size += value.length + OVERHEAD;
  return size;
}

/** Done now, while the content is there; what it threw is thrown when the result is asked for. */
function settled<Result>(work: () => Result): () => Result {
  try {
    const result = work();
    return () => result;
  } catch (error) {
    return () => {
      throw error;
    };
  }
}
