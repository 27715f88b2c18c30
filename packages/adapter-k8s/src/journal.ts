/** What the long watch told of one scope: enough to say what changed since a listing, without another one. */
import type { FileEntry } from "@pannier/core/adapter";
import { isOlder } from "./api.ts";
import { entriesOf, idOf, type KubeObject, type Layout } from "./objects.ts";

/** Objects that changed. With more, a listing is hardly dearer. */
const MOST_OBJECTS = 1000;
/** Bytes of content that wait to be read. What is beyond is asked for again. */
const MOST_BYTES = 4 << 20;
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
  /** A watch goes on where another ended before its time: what is known until then is only sure once more was listed. */
  resume(version: string): void;
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
  /** Until when nothing happened after a resourceVersion; `undefined` where that is not sure. */
  quietSince(version: string): string | undefined;
  /** What happened after `from`, at least until `until`; `undefined` where that is not sure. */
  changes(from: string, until: string): Changes | undefined;
  /** An object that the watch told of, where there was room for its content. */
  get(id: string): KubeObject | undefined;
  /** What happened until then is published. */
  forget(version: string): void;
}

interface Noted extends Told {
  readonly object: KubeObject | undefined;
  readonly bytes: number;
}

export function createJournal(layout: Layout): Journal {
  /** All that happened after `start` and until `head` is here, the last of each object. */
  const objects = new Map<string, Noted>();
  let start: string | undefined;
  /** True where `start` itself is not sure, only what comes after it. */
  let isCut = false;
  let head = "0";
  let last: string | undefined;
  let bytes = 0;

  function begin(version: string): void {
    clear();
    start = version;
    isCut = false;
    head = version;
    last = undefined;
  }

  function clear(): void {
    objects.clear();
    bytes = 0;
  }

  function drop(id: string): void {
    bytes -= objects.get(id)?.bytes ?? 0;
    objects.delete(id);
  }

  function isSureFrom(version: string): boolean {
    if (start === undefined || isOlder(version, start)) return false;
    return !isCut || isOlder(start, version);
  }

  function startFrom(version: string): void {
    if (start !== undefined && !isOlder(start, version)) return;
    start = version;
    isCut = false;
  }

  return {
    begin,
    resume(version) {
      begin(version);
      isCut = true;
    },
    tell(object, { deleted, version, shown }) {
      // They come in order, unless the cluster was restored from a backup.
      if (!isOlder(head, version)) begin(version);
      head = version;
      last = version;
      const id = idOf(object);
      drop(id);
      if (shown || objects.size >= MOST_OBJECTS) {
        clear();
        startFrom(version);
        return;
      }
      const size = deleted ? 0 : sizeOf(object);
      const isKept = !deleted && bytes + size <= MOST_BYTES;
      if (isKept) bytes += size;
      objects.set(id, {
        version,
        deleted,
        entries: deleted ? () => [] : settled(() => entriesOf(object, layout)),
        object: isKept ? object : undefined,
        bytes: isKept ? size : 0,
      });
    },
    quiet(version) {
      if (isOlder(version, head)) begin(version);
      head = version;
    },
    get last() {
      return last;
    },
    quietSince(version) {
      const happened = last !== undefined && isOlder(version, last);
      return isSureFrom(version) && !happened && isOlder(version, head) ? head : undefined;
    },
    changes(from, until) {
      if (!isSureFrom(from) || isOlder(head, from) || isOlder(head, until)) return undefined;
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
