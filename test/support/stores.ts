/** Stores of the conformance suite whose files are put into a server: one by one, or all together as an image. */
import type { Harness, SourceAddress, Store, StoreFile, StoreFiles } from "@pannier/adapter-kit";

/** What the suite needs of a server of objects. A container of Azure's is called a bucket, too. */
export interface ObjectServer {
  readonly port: number;
  createBucket(bucket: string): void | Promise<void>;
  put(bucket: string, key: string, content: Uint8Array): void | Promise<void>;
  remove(bucket: string, key: string): void | Promise<void>;
}

/** Files that are put at once. */
const PUT_AT_ONCE = 8;

/** Servers are shared by test files, each in a process of its own. */
let stores = 0;

/**
 * A bucket each.
 *
 * @param address of what a bucket holds below a directory (as it stands in a URL, with its slash; empty for all), through a port
 */
export function objectStores<Server extends ObjectServer>(
  server: () => Server,
  address: (bucket: string, below: string, port: number, server: Server) => SourceAddress,
): Harness["create"] {
  return async (files) => {
    const bucket = `store-${process.pid}-${++stores}`;
    const own = server();
    const change = async (changes: StoreFiles) => {
      const left = changes.entries();
      const worker = async () => {
        for (const [path, file] of left) {
          if (file === undefined) await own.remove(bucket, path);
          else if (file.kind === "file") await own.put(bucket, path, file.content);
        }
      };
      await Promise.all(Array.from({ length: PUT_AT_ONCE }, worker));
    };
    await own.createBucket(bucket);
    await change(files);
    return {
      source: ({ directory, port = own.port }) =>
        address(bucket, directory === undefined ? "" : `${encodePath(directory)}/`, port, own),
      change,
      server: { host: "127.0.0.1", port: own.port },
      close: async () => {},
    } satisfies Store;
  };
}

/**
 * A repository each, in which every change is a new image under the same tag.
 *
 * @param put makes an image of these files, and puts it at a URL
 * @param address the URL of a repository, by a name of the store's own
 * @param server where it is reached, if it is
 */
export function imageStores(
  put: (files: ReadonlyMap<string, StoreFile>, url: string) => Promise<unknown>,
  address: (name: string, port?: number) => string,
  server?: { readonly host: string; readonly port: number },
): Pick<Harness, "create" | "failures"> {
  return {
    async create(files) {
      const name = `store-${process.pid}-${++stores}`;
      const tree = new Map<string, StoreFile>();
      const change = async (changes: StoreFiles) => {
        for (const [path, file] of changes) {
          tree.delete(path);
          if (file !== undefined) tree.set(path, file);
        }
        await put(tree, `${address(name)}:live`);
      };
      await change(files);
      return {
        source: ({ directory, port }) => ({
          url: `${address(name, port)}:live`,
          options: { path: directory },
        }),
        change,
        server,
        close: async () => {},
      };
    },
    failures: {
      "not-found": (store) => ({ url: store.source({}).url.replace(":live", ":missing") }),
    },
  };
}

function encodePath(path: string): string {
  return path.split("/").map(encodeURIComponent).join("/");
}
