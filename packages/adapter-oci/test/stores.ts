import type { StoreFile } from "@pannier/adapter-kit";
import { imageStores } from "../../../test/support/stores.ts";
import { putImage, type TestLayer } from "./images.ts";

/** How a tree becomes the layers of an image. */
export type Render = (
  files: ReadonlyMap<string, StoreFile>,
  modified: Date,
) => Promise<readonly TestLayer[]>;

/** Stores of the conformance suite: images in a registry or a layout. As `imageStores`, which has them. */
export function makeStores(
  render: Render,
  address: (name: string, port?: number) => string,
  server?: { readonly host: string; readonly port: number },
) {
  // Times that nobody takes for "just now", a minute apart.
  let clock = Date.UTC(2025, 1, 3);
  return imageStores(
    async (files, url) => {
      clock += 60_000;
      await putImage(url, await render(files, new Date(clock)));
    },
    address,
    server,
  );
}
