/** Opens what a URL names: a registry or a layout. */
import { openLayout } from "./layout.ts";
import { openRegistry } from "./registry.ts";
import type { ImageStore, StoreInit } from "./store.ts";

export function openStore(init: StoreInit): ImageStore {
  return init.location.scheme === "oci+file" ? openLayout(init) : openRegistry(init);
}
