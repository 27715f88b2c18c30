/** What a rollback holds back, from one sync to the next. */
import type { Probes } from "./listing.ts";
import type { Mount } from "../mount/mount.ts";
import { type SourcesState, urlsOf } from "../state/hold.ts";

export function sourcesState({ layers }: Mount, { tokens }: Probes, digest?: string): SourcesState {
  return {
    urls: urlsOf(layers),
    tokens,
    digest,
    settings: layers.map(({ settings }) => [settings]),
  };
}
