/** Stores of the conformance suite: a container each, on any server of the blob service. */
import type { Harness, Store, StoreFiles } from "@pannier/adapter-kit";
import type { SourceAddress } from "@pannier/adapter-kit";

/** What the suite needs of a server. */
export interface StoreServer {
  readonly port: number;
  readonly account: string;
  create(container: string): void | Promise<void>;
  put(container: string, key: string, content: Uint8Array): void | Promise<void>;
  remove(container: string, key: string): void | Promise<void>;
}

/** Servers are shared by test files, each in a process of its own. */
let stores = 0;

/** @param access how its sources sign in */
export function createStore(
  server: () => StoreServer,
  access: Pick<SourceAddress, "credentials" | "options">,
): Harness["create"] {
  return async (files) => {
    const container = `store-${process.pid}-${++stores}`;
    const { port, account, create, put, remove } = server();
    const change = async (changes: StoreFiles) => {
      const left = changes.entries();
      const worker = async () => {
        for (const [path, file] of left) {
          if (file === undefined) await remove(container, path);
          else if (file.kind === "file") await put(container, path, file.content);
        }
      };
      await Promise.all(Array.from({ length: 8 }, worker));
    };
    await create(container);
    await change(files);
    return {
      source: ({ directory, port: through = port }) => ({
        url: `az://${account}/${container}/${directory === undefined ? "" : `${encodePath(directory)}/`}`,
        credentials: access.credentials,
        options: { endpoint: `http://127.0.0.1:${through}/${account}`, ...access.options },
      }),
      change,
      server: { host: "127.0.0.1", port },
      close: async () => {},
    } satisfies Store;
  };
}

function encodePath(path: string): string {
  return path.split("/").map(encodeURIComponent).join("/");
}
