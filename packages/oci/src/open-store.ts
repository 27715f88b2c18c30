/** Opens what a URL names: a registry or a layout. */
import { openLayout } from "./layout.ts";
import { openRegistry } from "./registry.ts";
import type { ImageStore, StoreInit } from "./store.ts";
import { openWebLayout } from "./web-layout.ts";

export function openStore(init: StoreInit): ImageStore {
  switch (init.location.scheme) {
    case "oci+file":
      return openLayout(init);
    case "oci+https":
      return openWebLayout(init);
    default:
      return openRegistry(init);
  }
}
