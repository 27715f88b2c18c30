/** Reads files of objects. Objects that are in memory anyway are kept for the reads that follow, as many as a few MiB hold. */
import { type ByteRange, type FileEntry, quotePath, SourceError } from "@pannier/core/adapter";
import type { Api } from "./api.ts";
import { fingerprintOf, idOf, type KubeObject } from "./objects.ts";
import type { Resource } from "./address.ts";

const MOST_BYTES = 8 << 20;
/** For an object's names and versions. */
const OVERHEAD = 1024;
/** Bytes that are passed on in one go. */
const WHOLE = 256 * 1024;

export interface Reader {
  /** Keeps an object for the reads that follow. */
  keep(object: KubeObject): void;
  read(
    entry: FileEntry,
    range: ByteRange | undefined,
    signal: AbortSignal,
  ): Promise<Uint8Array | AsyncIterable<Uint8Array>>;
  /** Forgets all objects. */
  clear(): void;
}

export function createReader(api: Api, resource: Resource): Reader {
  const kept = keepObjects();
  /** By ID: one request for all files of an object. */
  const reading = new Map<string, Promise<KubeObject>>();

  async function fetch(id: string, signal: AbortSignal): Promise<KubeObject> {
    const object = await api.get(id, signal);
    kept.put(object);
    return object;
  }

  /** @returns the content of exactly that version, or `undefined` */
  function contentIn(object: KubeObject, entry: FileEntry): Buffer | undefined {
    const key = entry.path.slice(entry.path.lastIndexOf("/") + 1);
    const content = object.content.get(key);
    if (content === undefined) return undefined;
    return fingerprintOf(object, content, resource) === entry.fingerprint ? content : undefined;
  }

  return {
    keep: kept.put,
    clear: kept.clear,
    async read(entry, range, signal) {
      const id = entry.ref ?? "";
      const object = kept.get(id);
      let content = object === undefined ? undefined : contentIn(object, entry);
      if (content === undefined) {
        const asked = reading.get(id) ?? fetch(id, signal).finally(() => reading.delete(id));
        reading.set(id, asked);
        content = contentIn(await asked, entry);
      }
      if (content === undefined) {
        throw new SourceError(
          "changed",
          `${quotePath(entry.path)}: it changed since it was listed`,
        );
      }
      const { offset = 0, length = Infinity } = range ?? {};
      const part = content.subarray(offset, offset + length);
      return part.length > WHOLE ? pieces(part, signal) : part;
    },
  };
}

/** So that a large one can be left in the middle. */
async function* pieces(content: Buffer, signal: AbortSignal): AsyncGenerator<Uint8Array> {
  for (let at = 0; at < content.length; at += WHOLE) {
    signal.throwIfAborted();
    yield content.subarray(at, at + WHOLE);
  }
}

function keepObjects() {
  const objects = new Map<string, KubeObject>();
  let bytes = 0;
  const drop = (id: string) => {
    const object = objects.get(id);
    if (object === undefined) return;
    objects.delete(id);
    bytes -= sizeOf(object);
  };
  return {
    get(id: string): KubeObject | undefined {
      const object = objects.get(id);
      if (object === undefined) return undefined;
      // The one that was used last is the last to go.
      objects.delete(id);
      objects.set(id, object);
      return object;
    },
    put(object: KubeObject): void {
      drop(idOf(object));
      objects.set(idOf(object), object);
      bytes += sizeOf(object);
      for (const oldest of objects.keys()) {
        if (bytes <= MOST_BYTES) break;
        drop(oldest);
      }
    },
    clear(): void {
      objects.clear();
      bytes = 0;
    },
  };
}

function sizeOf({ content }: KubeObject): number {
  let size = OVERHEAD;
  for (const value of content.values()) size += value.length;
  return size;
}
