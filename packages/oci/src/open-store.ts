/** Opens what a URL names: a registry or a layout. */
import { UsageError } from "@pannier/core/adapter";
import { openFolderLayout } from "./folder-layout.ts";
import { openLayout } from "./layout.ts";
import { directoryOf, SCHEMES } from "./reference.ts";
import { openRegistry } from "./registry.ts";
import type { ImageStore, StoreInit } from "./store.ts";
import { openWebFolder } from "./web-layout.ts";

/** @throws UsageError where it is in a folder that the caller cannot open */
export async function openStore(init: StoreInit): Promise<ImageStore> {
  const { location, reference, folder } = init;
  switch (location.scheme) {
    case "oci+file":
      return openLayout(init);
    case "oci+https":
      return openFolderLayout(openWebFolder(init), reference);
    default:
      if (SCHEMES.includes(location.scheme)) return openRegistry(init);
      if (folder === undefined)
        throw new UsageError(
          `the adapter oci alone does not reach "${location.scheme}://"`,
          "let resolveSource find both adapters",
        );
      return openFolderLayout(await folder(directoryOf(reference)), reference);
  }
}
