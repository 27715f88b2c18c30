/** Opens what a URL names: a registry or a layout. */
import type { Credentials, Location } from "@pannier/core/adapter";
import type { Environment } from "./docker-config.ts";
import { openLayout } from "./layout.ts";
import type { Reference } from "./reference.ts";
import { openRegistry } from "./registry.ts";
import type { ImageStore } from "./store.ts";

export interface StoreInit {
  readonly location: Location;
  readonly reference: Reference;
  /** What a registry is asked for when signing in. */
  readonly actions: "pull" | "pull,push";
  readonly credentials: Credentials;
  /** Where proxies and files of Docker and podman are looked up. */
  readonly env: Environment;
  /** Milliseconds. */
  readonly idleTimeout: number;
  readonly onRequest?: ((operation: string) => void) | undefined;
}

export function openStore(init: StoreInit): ImageStore {
  return init.location.scheme === "oci+file" ? openLayout(init) : openRegistry(init);
}
