/** What is kept by name rather than in a table of its own. */
import type { NewGeneration } from "./generations.ts";
import type { State } from "./state.ts";

/** A state of the sources. */
export interface SourcesState {
  /** Which they are: the same token may mean another tree with another `path=`. Not known in states of older versions. */
  readonly urls?: readonly string[] | undefined;
  readonly tokens: readonly (string | null)[];
  /**
   * Of each, digests of the settings under which they are taken for the same: who goes back may not know those of the next sync. Not
   * known in states of older versions.
   */
  readonly settings?: readonly (readonly string[])[] | undefined;
  /** Of the tree that they make; not known where they told by their tokens alone. */
  readonly digest?: string | undefined;
}

/** `next`: they could not be asked when somebody rolled back, so that it is whatever the next look finds. */
export type Held = SourcesState | "next";

/** What the state remembers of the candidate. */
export interface CandidateRecord {
  /** Name below `.pannier`. */
  readonly name: string;
  /** What names it in the table of directories. */
  readonly slot: number;
  /** The generation whose tree it was; null: it was empty. */
  readonly base: number | null;
  /** False while it is being worked on, and after that was cut short: what is in it must then be looked at. */
  readonly clean: boolean;
  /** While a tree is being retired: its name below `.pannier/generations`. */
  readonly from?: string | undefined;
  /** While it is being published: the mode that its root is to have once it is in place. */
  readonly rootMode?: number | undefined;
}

/** `mirror`: what was decided and may be half done. */
export interface MirrorRecord {
  /** Name below `.pannier`. */
  readonly staging: string;
  readonly generation: NewGeneration;
  readonly settings: {
    readonly dirMode: number;
    readonly owner: { readonly uid: number; readonly gid: number } | undefined;
    readonly obstacles: "replace" | "refuse";
  };
}

interface Meta {
  readonly publish: string;
  /** Name of the link in the target. */
  readonly link: string;
  /** Of the run of the machine in which the state was last opened. */
  readonly boot: string;
  /** Why the published tree must be looked at as a whole. */
  readonly unverified: "damaged" | "since a restart";
  readonly candidate: CandidateRecord;
  readonly mirroring: MirrorRecord;
  /** Identities of the sources that the plan is about, by layer. */
  readonly origins: readonly string[];
  /** See hold.ts. */
  readonly held: Held;
  /** Owner and modes of what is published. */
  readonly ownership: string;
  /** Whether the file system keeps modes. */
  readonly modes: "yes" | "no";
  /** Whether it takes names that differ by case or Unicode form for one. */
  readonly folds: "yes" | "no";
  /** The path at which the last look at a sample of files ended. */
  readonly sample: string;
  /** The last slot that was given to a tree. */
  readonly slots: number;
}

const AS_JSON: ReadonlySet<keyof Meta> = new Set([
  "candidate",
  "mirroring",
  "origins",
  "held",
  "slots",
]);

export function getMeta<Key extends keyof Meta>(state: State, key: Key): Meta[Key] | undefined {
  const text = getText(state, key);
  if (text === undefined) return undefined;
  return (AS_JSON.has(key) ? JSON.parse(text) : text) as Meta[Key];
}

/** Sets a value, or removes it when `undefined`. Writes nothing when it is already so. */
export function setMeta<Key extends keyof Meta>(
  state: State,
  key: Key,
  value: Meta[Key] | undefined,
): void {
  const text = AS_JSON.has(key) ? JSON.stringify(value) : (value as string | undefined);
  if (getText(state, key) === text) return;
  if (text === undefined) state.sql("DELETE FROM meta WHERE key = ?").run(key);
  else state.sql("INSERT OR REPLACE INTO meta (key, value) VALUES (?, ?)").run(key, text);
}

function getText(state: State, key: string): string | undefined {
  return state.sql("SELECT value FROM meta WHERE key = ?").get(key)?.["value"] as
    | string
    | undefined;
}

/** What names a new tree in the table of directories. */
export function newSlot(state: State): number {
  const slot = (getMeta(state, "slots") ?? 0) + 1;
  setMeta(state, "slots", slot);
  return slot;
}
