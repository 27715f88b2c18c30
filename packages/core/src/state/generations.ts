/** The published generations, and what each of them changed. */
import { isPlainName } from "../source/path.ts";
import type { CheckedSignature } from "../source/contract.ts";
import type { Pause } from "../timing/slices.ts";
import { mergePaths, type Paths } from "./merge-paths.ts";
import { ROWS } from "./ranges.ts";
import type { State } from "./state.ts";

/** What is kept of each layer with the generation it went into. Holds no secrets. */
export interface LayerRecord {
  /** Digest of what makes fingerprints of two listings comparable: the adapter, and the redacted URL and options unless fingerprints are content digests. */
  readonly identity: string;
  /** Digest of all else that decides what a listing yields: the whole query, options, filters, `into`. */
  readonly view: string;
  /** Digest of the part of it that is no source's: filters, modes, owner. Not known in states of older versions. */
  readonly settings?: string | undefined;
  /** The source, redacted. */
  readonly url: string;
  readonly adapter: string;
  readonly into: string;
  readonly revision: string;
  /** The probe's token, or null where the source has none. */
  readonly token: string | null;
  /** Content of the source's `.pannierignore`, and the fingerprint it was read at. */
  readonly ignore: { readonly fingerprint: string; readonly text: string } | null;
  /** The signature under which it was listed, and a digest of what was trusted then; not there where nobody had to sign. */
  readonly signature?: (CheckedSignature & { readonly trusted: string }) | undefined;
}

export interface Generation {
  readonly id: number;
  readonly revision: string;
  /** Name below `.pannier/generations`; null once the tree is gone, or with `mirror`. */
  readonly tree: string | null;
  /** What names its tree in the table of directories. */
  readonly slot: number | null;
  /** When it was published, in milliseconds since the epoch. */
  readonly created: number;
  readonly files: number;
  readonly bytes: number;
  readonly added: number;
  readonly changed: number;
  readonly deleted: number;
  /** Digest of the tree's entries. */
  readonly digest: string;
  readonly layers: readonly LayerRecord[];
}

/** A generation about to be recorded. */
export type NewGeneration = Omit<Generation, "id" | "tree" | "slot" | "created">;

/** Generations, the newest first. */
export function generations(state: State): Generation[] {
  return state.sql("SELECT * FROM generations ORDER BY id DESC").all().map(toGeneration);
}

/** The newest generation: the published one, since an unfinished one is undone when the volume is opened. */
export function latestGeneration(state: State): Generation | undefined {
  const row = state.sql("SELECT * FROM generations ORDER BY id DESC LIMIT 1").get();
  return row === undefined ? undefined : toGeneration(row);
}

function toGeneration(row: Record<string, unknown>): Generation {
  const generation = row as unknown as Generation;
  const { tree } = generation;
  return {
    ...generation,
    // A name that would lead elsewhere is that of no tree.
    tree: tree !== null && isPlainName(tree) ? tree : null,
    layers: JSON.parse(row["layers"] as string) as LayerRecord[],
  };
}

/** Ids of the newest generations, the newest first. */
export function newestIds(state: State, count: number): number[] {
  return state
    .sql("SELECT id FROM generations ORDER BY id DESC LIMIT ?")
    .all(count)
    .map((row) => row["id"] as number);
}

/** Generations whose trees are on the volume. */
export function countTrees(state: State): number {
  const row = state.sql("SELECT count(*) AS trees FROM generations WHERE tree IS NOT NULL").get();
  return row?.["trees"] as number;
}

export function insertGeneration(state: State, generation: Omit<Generation, "created">): void {
  state
    .sql(
      "INSERT INTO generations (id, revision, tree, slot, created, files, bytes, added, changed, deleted, digest, layers) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
    )
    .run(
      generation.id,
      generation.revision,
      generation.tree,
      generation.slot,
      Date.now(),
      generation.files,
      generation.bytes,
      generation.added,
      generation.changed,
      generation.deleted,
      generation.digest,
      JSON.stringify(generation.layers),
    );
}

/** What was learnt of a published generation whose tree stays as it is. */
export function updateGeneration(
  state: State,
  id: number,
  { layers, digest }: Pick<Generation, "layers" | "digest">,
): void {
  state
    .sql("UPDATE generations SET layers = ?, digest = ? WHERE id = ?")
    .run(JSON.stringify(layers), digest, id);
}

/** Notes that the tree of a generation is not kept any more, or is another's now. */
export function forgetTree(state: State, id: number): void {
  state.sql("UPDATE generations SET tree = NULL, slot = NULL WHERE id = ?").run(id);
}

/** Deletes generations that have no tree and are older than both. */
export function deleteGenerations(state: State, last: number, before: number): void {
  state.sql("DELETE FROM generations WHERE tree IS NULL AND id <= ? AND id < ?").run(last, before);
}

/** Paths that the generations after one, up to another, changed; in order. */
export function changedPaths(state: State, from: number, to: number): Generator<{ path: string }> {
  return mergePaths(deltasAfter(state, from, to));
}

/** The same, a list for each generation: in the table's own order, so that nothing is sorted. */
export function deltasAfter(state: State, from: number, to = Number.MAX_SAFE_INTEGER): Paths[] {
  return state
    .sql("SELECT id FROM generations WHERE id > ? AND id <= ?")
    .all(from, to)
    .map(
      ({ id }) =>
        state
          .prepare("SELECT path FROM deltas WHERE generation = ? ORDER BY path")
          .iterate(id as number) as unknown as Paths,
    );
}

/** The oldest generation of which it is known what it changed. */
export function firstDelta(state: State): number | undefined {
  const first = state.sql("SELECT MIN(generation) AS first FROM deltas").get()?.["first"];
  return typeof first === "number" ? first : undefined;
}

const DELETE_DELTAS = `DELETE FROM deltas WHERE (generation, path) IN
  (SELECT generation, path FROM deltas WHERE generation <= ? LIMIT ${ROWS})`;

export async function deleteDeltas(state: State, upTo: number, pause: Pause): Promise<void> {
  while (state.sql(DELETE_DELTAS).run(upTo).changes > 0) await pause();
}

/** Whether all that changed since a generation is known, as far as the tables can tell. */
export async function isHistoryKnown(state: State, since: number, pause: Pause): Promise<boolean> {
  if (state.sql("SELECT 1 FROM generations WHERE id = ?").get(since) === undefined) return false;
  const page = state.sql(
    `SELECT path, EXISTS (SELECT 1 FROM entries WHERE path = deltas.path AND (since > ? OR until > ?)) AS known
     FROM deltas WHERE generation = ? AND path > ? ORDER BY path LIMIT ${ROWS}`,
  );
  for (const { id, added, changed, deleted } of generations(state)) {
    if (id <= since) break;
    let count = 0;
    for (let last = "", more = true; more; await pause()) {
      const rows = page.all(since, since, id, last);
      if (rows.some(({ known }) => known === 0)) return false;
      count += rows.length;
      last = (rows.at(-1)?.["path"] as string | undefined) ?? last;
      more = rows.length === ROWS;
    }
    if (count !== added + changed + deleted) return false;
  }
  return true;
}
