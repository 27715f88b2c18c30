/** Objects that are in memory anyway, for the reads that follow: as many as a few MiB hold. */
import type { KubeObject } from "./objects.ts";

const MOST_BYTES = 8 << 20;
/** For an object's names and versions. */
const OVERHEAD = 1024;

export interface Held {
  get(id: string): KubeObject | undefined;
  put(id: string, object: KubeObject): void;
  clear(): void;
}

export function holdObjects(): Held {
  const objects = new Map<string, KubeObject>();
  let bytes = 0;
  const drop = (id: string) => {
    const object = objects.get(id);
    if (object === undefined) return;
    objects.delete(id);
    bytes -= sizeOf(object);
  };
  return {
    get(id) {
      const object = objects.get(id);
      if (object === undefined) return undefined;
      // The one that was used last is the last to go.
      objects.delete(id);
      objects.set(id, object);
      return object;
    },
    put(id, object) {
      drop(id);
      objects.set(id, object);
      bytes += sizeOf(object);
      for (const oldest of objects.keys()) {
        if (bytes <= MOST_BYTES) break;
        drop(oldest);
      }
    },
    clear() {
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
