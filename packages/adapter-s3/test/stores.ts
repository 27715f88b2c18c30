/** Stores of the conformance suite: a bucket each, on any server of S3. */
import type { Harness, Store, StoreFiles } from "@pannier/adapter-kit";
import type { Credentials } from "@pannier/core";

/** What the suite needs of a server. */
export interface Server {
  readonly port: number;
  createBucket(bucket: string): void | Promise<void>;
  put(bucket: string, key: string, content: Uint8Array): void | Promise<void>;
  remove(bucket: string, key: string): void | Promise<void>;
}

/** Servers are shared by test files, each in a process of its own. */
let stores = 0;

/** @param access how its source signs in */
export function createStore(
  server: () => Server,
  access: { readonly credentials?: Credentials; readonly options?: Record<string, unknown> },
): Harness["create"] {
  return async (files) => {
    const bucket = `store-${process.pid}-${++stores}`;
    const { port, createBucket, put, remove } = server();
    const change = async (changes: StoreFiles) => {
      const left = changes.entries();
      const worker = async () => {
        for (const [path, file] of left) {
          if (file === undefined) await remove(bucket, path);
          else if (file.kind === "file") await put(bucket, path, file.content);
        }
      };
      await Promise.all(Array.from({ length: 8 }, worker));
    };
    await createBucket(bucket);
    await change(files);
    return {
      source: ({ directory, port: through = port }) => ({
        url: `s3://${bucket}/${directory === undefined ? "" : `${encodePath(directory)}/`}`,
        credentials: access.credentials,
        options: { endpoint: `http://127.0.0.1:${through}`, ...access.options },
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
