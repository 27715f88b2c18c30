/** Reads files of objects: from what a listing or a watch brought, or by a request for the object. */
import { type ByteRange, type FileEntry, quotePath, SourceError } from "@pannier/core/adapter";
import type { Api } from "./api.ts";
import type { Resource } from "./address.ts";
import type { Held, HeldContent } from "./held.ts";
import { fingerprintOf, type KubeObject } from "./objects.ts";

/** Bytes that are passed on in one go. */
const WHOLE = 256 * 1024;

type Read = (
  entry: FileEntry,
  range: ByteRange | undefined,
  signal: AbortSignal,
) => Promise<Uint8Array | AsyncIterable<Uint8Array>>;

/** @param told what a watch brought of an object */
export function createReader(
  api: Api,
  held: Held,
  told: (id: string) => KubeObject | undefined,
  resource: Resource,
): Read {
  /** By ID: one request for all files of an object. */
  const reading = new Map<string, Promise<KubeObject>>();

  async function fetch(id: string, signal: AbortSignal): Promise<KubeObject> {
    const object = await api.get(id, signal);
    await held.put(object);
    return object;
  }

  /** @returns the content, where it is of exactly that version */
  function ofVersion(found: HeldContent | undefined, entry: FileEntry): Buffer | undefined {
    if (found === undefined) return undefined;
    const fingerprint = fingerprintOf(found, found.content, resource);
    return fingerprint === entry.fingerprint ? found.content : undefined;
  }

  /** @returns the content, where the object is of exactly that version */
  function ofObject(object: KubeObject | undefined, key: string, entry: FileEntry) {
    const content = object?.content.get(key);
    return object && content && ofVersion({ ...object, content }, entry);
  }

  return async (entry, range, signal) => {
    const id = entry.ref ?? "";
    const key = entry.path.slice(entry.path.lastIndexOf("/") + 1);
    let content = ofVersion(held.get(id, key), entry) ?? ofObject(told(id), key, entry);
    if (content === undefined) {
      const asked = reading.get(id) ?? fetch(id, signal).finally(() => reading.delete(id));
      reading.set(id, asked);
      content = ofObject(await asked, key, entry);
    }
    if (content === undefined) {
      throw new SourceError("changed", `${quotePath(entry.path)}: it changed since it was listed`);
    }
    const { offset = 0, length = Infinity } = range ?? {};
    const part = content.subarray(offset, offset + length);
    return part.length > WHOLE ? pieces(part, signal) : part;
  };
}

/** So that a large one can be left in the middle. */
async function* pieces(content: Buffer, signal: AbortSignal): AsyncGenerator<Uint8Array> {
  for (let at = 0; at < content.length; at += WHOLE) {
    signal.throwIfAborted();
    yield content.subarray(at, at + WHOLE);
  }
}
