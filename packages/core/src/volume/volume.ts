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
  close(): void;
}
