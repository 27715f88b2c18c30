/** What a rollback holds back: decided again at each sync, by what the sources tell of themselves. */
import type { Mount } from "../mount/mount.ts";
import type { Generation } from "../state/generations.ts";
import {
  isStillRolledBack,
  rollbackHold,
  setRollbackHold,
  type SourcesState,
  tellAll,
  urlsOf,
} from "../state/hold.ts";
import type { Probes } from "./listing.ts";

export function sourcesState({ layers }: Mount, { tokens }: Probes, digest?: string): SourcesState {
  return {
    urls: urlsOf(layers),
    tokens,
    digest,
    settings: layers.map(({ settings }) => [settings]),
  };
}

/** The first look after a rollback for which nobody could ask: what it finds is what is held back. */
export function holdWhatIsFound(mount: Mount, probes: Probes): void {
  const { state } = mount.volume;
  if (rollbackHold(state) !== "next" || !tellAll(probes) || mount.settings.dryRun) return;
  setRollbackHold(state, probes.unchanged ? undefined : sourcesState(mount, probes));
}

/** @param digest of the tree that the sources make, once they were listed */
export function isHeldBack(mount: Mount, probes: Probes, digest?: string): boolean {
  return isStillRolledBack(mount.volume.state, sourcesState(mount, probes, digest));
}

/** What the sources now tell of themselves saves the next listing. */
export function renewHold(
  mount: Mount,
  probes: Probes,
  digest: string,
  published: Generation,
): void {
  if (mount.settings.dryRun) return;
  const isPublished = digest === published.digest;
  setRollbackHold(
    mount.volume.state,
    isPublished ? undefined : sourcesState(mount, probes, digest),
  );
}
