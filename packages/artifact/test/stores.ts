import type { Harness, StoreFile, StoreFiles } from "@pannier/adapter-kit";
import { pushFiles } from "./trees.ts";

let stores = 0;

/** Stores for the conformance suite, each change of which is a push. */
export function makePushedStores(
  layers: number,
  address: (name: string, port?: number) => string,
  server?: { readonly host: string; readonly port: number },
): Pick<Harness, "create" | "failures"> {
  return {
    async create(files) {
      const name = `pushed-${process.pid}-${++stores}`;
      const tree = new Map<string, StoreFile>();
      const change = async (changes: StoreFiles) => {
        for (const [path, file] of changes) {
          tree.delete(path);
          if (file !== undefined) tree.set(path, file);
        }
        await pushFiles(tree, `${address(name)}:live`, { layers });
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
