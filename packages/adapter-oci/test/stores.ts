/** Stores for the conformance suite: images in a registry or a layout, each change of which is a new image under the same tag. */
import type { Harness, StoreFile, StoreFiles } from "@pannier/adapter-kit";
import { putImage, type TestLayer } from "./images.ts";

/** How a tree becomes the layers of an image. */
export type Render = (
  files: ReadonlyMap<string, StoreFile>,
  modified: Date,
) => Promise<readonly TestLayer[]>;

let stores = 0;

/**
 * @param address the URL of a repository, by a name of the store's own
 * @param server where it is reached, if it is
 */
export function makeStores(
  render: Render,
  address: (name: string, port?: number) => string,
  server?: { readonly host: string; readonly port: number },
): Pick<Harness, "create" | "failures"> {
  // Times that nobody takes for "just now", a minute apart.
  let clock = Date.UTC(2025, 1, 3);
  return {
    async create(files) {
      const name = `store-${process.pid}-${++stores}`;
      const tree = new Map<string, StoreFile>();
      const change = async (changes: StoreFiles) => {
        clock += 60_000;
        for (const [path, file] of changes) {
          tree.delete(path);
          if (file !== undefined) tree.set(path, file);
        }
        await putImage(`${address(name)}:live`, await render(tree, new Date(clock)));
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
