/** A target that is open for writing: what every part of the volume works on. */
import type { SyncEvent } from "../events.ts";
import type { Layout } from "./layout.ts";
import type { State } from "../state/state.ts";

export interface Volume {
  readonly layout: Layout;
  readonly publish: "swap" | "mirror";
  /** Name of the link in the target. */
  readonly link: string;
  readonly state: State;
  emit(event: SyncEvent): void;
  /** Whether the target is still the one that was opened: its names lead to the same directories. */
  isInPlace(): boolean;
  /** @throws TargetError where it is not */
  check(): void;
  /** Closes the state and lets go of the lock. */
  close(): void;
  /** After {@link Volume.close}, when nothing uses a path of the layout any more. */
  release(): void;
}
