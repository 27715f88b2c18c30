/** Rows of `entries`: what the published tree shows at a path, what an older one showed, and what a layer has there. */
import type { Pause } from "../timing/slices.ts";
import { ALL_COLUMNS, type EntryRow, type PublishedRow, SKIPPED } from "./row.ts";
import type { Paths } from "./merge-paths.ts";
import { IN_RANGE, ranges, ROWS } from "./ranges.ts";
import type { State } from "./state.ts";

/** What a tree has at a path: the row of the highest layer; nothing where that is a link left out. */
export type EntryView = (path: string) => PublishedRow | undefined;

/** Rows that are valid in a generation. */
const AT = "since <= ? AND (until IS NULL OR until > ?)";

/** The published tree. */
export function publishedEntry(state: State): EntryView {
  const select = state.sql(
    `SELECT since, ${ALL_COLUMNS} FROM entries WHERE path = ? AND until IS NULL ORDER BY layer DESC LIMIT 1`,
  );
  return (path) => shown(select.get(path) as unknown as PublishedRow | undefined);
}

/** The tree of a generation whose rows are kept. */
export function entryAt(state: State, generation: number): EntryView {
  const select = state.sql(
    `SELECT since, ${ALL_COLUMNS} FROM entries WHERE path = ? AND ${AT} ORDER BY layer DESC LIMIT 1`,
  );
  return (path) =>
    shown(select.get(path, generation, generation) as unknown as PublishedRow | undefined);
}

export function shown<Row extends PublishedRow>(row: Row | undefined): Row | undefined {
  return row === undefined || row.kind === SKIPPED ? undefined : row;
}

/** The published rows of all layers at a path, the highest first. */
export function publishedRows(state: State): (path: string) => PublishedRow[] {
  const select = state.sql(
    `SELECT since, ${ALL_COLUMNS} FROM entries WHERE path = ? AND until IS NULL ORDER BY layer DESC`,
  );
  return (path) => select.all(path) as unknown as PublishedRow[];
}

/** The same for a generation whose rows are kept. */
export function rowsAt(state: State, generation: number): (path: string) => PublishedRow[] {
  const select = state.sql(
    `SELECT since, ${ALL_COLUMNS} FROM entries WHERE path = ? AND ${AT} ORDER BY layer DESC`,
  );
  return (path) => select.all(path, generation, generation) as unknown as PublishedRow[];
}

/** What telling a change takes of a published row; a listing is joined with every one of them, so it is little. */
export type KnownRow = Pick<PublishedRow, "path" | "kind" | "mode" | "fingerprint" | "ref">;

/** The published rows of a layer, in order. */
export function knownRows(state: State, layer: number): IterableIterator<KnownRow> {
  return state
    .prepare(
      "SELECT path, kind, mode, fingerprint, ref FROM entries WHERE layer = ? AND until IS NULL ORDER BY path",
    )
    .iterate(layer) as unknown as IterableIterator<KnownRow>;
}

/** One of them. */
export function knownRow(state: State, layer: number): (path: string) => KnownRow | undefined {
  const select = state.sql(
    "SELECT path, kind, mode, fingerprint, ref FROM entries WHERE path = ? AND layer = ? AND until IS NULL",
  );
  return (path) => select.get(path, layer) as unknown as KnownRow | undefined;
}

/** The paths of a layer's published rows that have one of these refs. */
export async function pathsOfRefs(
  state: State,
  layer: number,
  refs: ReadonlySet<string>,
  pause: Pause,
): Promise<string[]> {
  const select = state.sql(
    `SELECT path FROM entries WHERE layer = ? AND until IS NULL
     AND ref IN (SELECT value FROM json_each(?)) AND ${IN_RANGE}`,
  );
  const wanted = JSON.stringify([...refs]);
  const paths: string[] = [];
  for await (const range of ranges(state, "entries", pause))
    for (const { path } of select.all(layer, wanted, ...range)) paths.push(path as string);
  return paths;
}

export function publishedDigest(
  state: State,
  { path, layer }: Pick<EntryRow, "path" | "layer">,
): string | null {
  const row = state
    .sql("SELECT sha256 FROM entries WHERE path = ? AND layer = ? AND until IS NULL")
    .get(path, layer);
  return row?.["sha256"] as string | null;
}

/** The same content as another version of the source: should it have to be read again, this is the one that is there. */
export function noteRef(state: State, { ref, path, layer }: EntryRow): void {
  state
    .sql("UPDATE entries SET ref = ? WHERE path = ? AND layer = ? AND until IS NULL")
    .run(ref, path, layer);
}

export function hasEntries(state: State): boolean {
  return state.sql("SELECT 1 FROM entries LIMIT 1").get() !== undefined;
}

/** Published files and symlinks below a path. */
export function publishedBelow(state: State): (path: string) => Iterable<{ path: string }> {
  const select = state.sql(
    `SELECT path FROM entries WHERE path > ? AND path < ? AND until IS NULL AND kind < ${SKIPPED} ORDER BY path`,
  );
  // '0' is the character behind '/': the range holds just what lies below the path.
  return (path) => select.iterate(`${path}/`, `${path}0`) as unknown as Iterable<{ path: string }>;
}

/** What the tree of a generation shows, in order. */
export function* shownRows(
  state: State,
  generation: number,
): Generator<PublishedRow, void, undefined> {
  yield* state
    .prepare(
      `SELECT since, ${ALL_COLUMNS}, max(layer) FROM entries WHERE ${AT} GROUP BY path HAVING kind <> ${SKIPPED} ORDER BY path`,
    )
    .iterate(generation, generation) as unknown as Iterable<PublishedRow>;
}

/** The next files and symlinks that were written to the tree of a generation, after a path. */
export function writtenRows(
  state: State,
  generation: number,
  after: string,
  count: number,
): PublishedRow[] {
  return state
    .sql(
      `SELECT since, path, max(layer) AS layer, kind, size, mode, mtime, fingerprint, ref, sha256, ino, disk_mtime FROM entries
       WHERE path > ? AND ${AT} GROUP BY path HAVING ino IS NOT NULL ORDER BY path LIMIT ?`,
    )
    .all(after, generation, generation, count) as unknown as PublishedRow[];
}

/** All published paths of all layers, in order. */
export function publishedPaths(state: State): Paths {
  return state
    .prepare("SELECT path FROM entries WHERE until IS NULL ORDER BY path")
    .iterate() as unknown as Paths;
}

/** All paths of a generation, in order. */
export function pathsAt(state: State, generation: number): Iterable<{ path: string }> {
  return state
    .prepare(`SELECT DISTINCT path FROM entries WHERE ${AT} ORDER BY path`)
    .iterate(generation, generation) as unknown as Iterable<{ path: string }>;
}

/** Paths whose rows are others than they were in a generation, in order. */
export async function* pathsChangedSince(
  state: State,
  generation: number,
  pause: Pause,
): AsyncGenerator<string> {
  const select = state.sql(
    `SELECT DISTINCT path FROM entries WHERE (since > ? OR until > ?) AND ${IN_RANGE} ORDER BY path`,
  );
  for await (const range of ranges(state, "entries", pause))
    for (const { path } of select.all(generation, generation, ...range)) {
      yield path as string;
      await pause();
    }
}

const DELETE_ENDED = `DELETE FROM entries WHERE (path, layer, since) IN
  (SELECT path, layer, since FROM entries WHERE until IS NOT NULL AND until <= ? LIMIT ${ROWS})`;

/** Deletes rows that no generation after this one has. */
export async function deleteEnded(state: State, generation: number, pause: Pause): Promise<void> {
  while (state.sql(DELETE_ENDED).run(generation).changes > 0) await pause();
}
