/** The smallest adapter that is whole: content in the memory of this process, by name: `memory://name/directory`. */
import { type Adapter, decodedPath, type Entry, SourceError } from "@pannier/core/adapter";
import type { Store, StoreFile, StoreFiles } from "@pannier/adapter-kit";

/** What there is to be read, by name. */
const memory = new Map<string, ReadonlyMap<string, StoreFile & { version: number }>>();

export const memoryAdapter: Adapter = {
  name: "memory",
  package: "pannier-adapter-memory",
  schemes: ["memory"],
  options: {},
  description: "content in this process's memory",

  async open(location, _options, context) {
    const prefix = decodedPath(location).replace(/^\/*(.*?)\/*$/, (_, path) =>
      path ? `${path}/` : "",
    );
    const files = () => {
      context.request("list");
      const found = memory.get(location.host);
      if (found !== undefined) return found;
      throw new SourceError("not-found", `there is no store "${location.host}"`);
    };

    return {
      async probe(signal) {
        signal.throwIfAborted();
        return { token: [...files()].map(([path, file]) => `${path}:${file.version}`).join() };
      },

      async list(signal) {
        signal.throwIfAborted();
        const found = [...files()].filter(([path]) => path.startsWith(prefix));
        return {
          ordered: false,
          entries: [
            found.map(([whole, file]): Entry => {
              const path = whole.slice(prefix.length);
              if (file.kind === "symlink") return { kind: "symlink", path, target: file.target };
              const { content, mode, version } = file;
              return { kind: "file", path, size: content.length, mode, fingerprint: `v${version}` };
            }),
          ],
        };
      },

      async read(entry, range, signal) {
        signal.throwIfAborted();
        const file = files().get(prefix + entry.path);
        if (file?.kind !== "file") throw new SourceError("not-found", `${entry.path} is gone`);
        if (`v${file.version}` !== entry.fingerprint) {
          throw new SourceError("changed", `${entry.path} is another version`);
        }
        const { offset = 0, length = Infinity } = range ?? {};
        return pieces(file.content.subarray(offset, offset + length), signal);
      },

      async close() {},
    };
  },
};

/** A stream, as a network would give it. */
async function* pieces(content: Uint8Array, signal: AbortSignal): AsyncGenerator<Uint8Array> {
  for (let at = 0; at < content.length; at += 65_536) {
    signal.throwIfAborted();
    yield content.subarray(at, at + 65_536);
  }
}

let versions = 0;

/** The harness's part: a store that the suite fills and changes. */
export async function memoryStore(files: StoreFiles): Promise<Store> {
  const name = `store-${++versions}`;
  const change = async (changes: StoreFiles) => {
    const next = new Map(memory.get(name));
    for (const [path, file] of changes) {
      if (file === undefined) next.delete(path);
      else next.set(path, { ...file, version: ++versions });
    }
    memory.set(name, next);
  };
  await change(files);
  return {
    source: ({ directory = "" }) => ({ url: `memory://${name}/${encodeURIComponent(directory)}` }),
    change,
    close: async () => void memory.delete(name),
  };
}
