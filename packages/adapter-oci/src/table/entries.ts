/** Which files and symlinks an image shows. */
import { type Entry, type Scope, SourceError } from "@pannier/core/adapter";
import type { Layer } from "../image.ts";
import { withFrame } from "../place.ts";
import { BATCH, type Database } from "./database.ts";
import {
  ancestorsOf,
  below,
  isEntry,
  judge,
  makeCover,
  pathBelow,
  type Root,
  type StoredRow,
} from "./rows.ts";

/**
 * In the order of paths.
 *
 * @throws SourceError `not-found` where the image has no such directory; why, where it shows something that is wanted and cannot be published
 */
export async function* listEntries(
  database: Database,
  layers: readonly Layer[],
  root: Root,
  scope?: Scope,
): AsyncGenerator<readonly Entry[]> {
  const positions = database.positionsOf(layers);
  const cover = makeCover(positions);
  const rowsOf = (path: string) =>
    database.rowsAt(path).filter(({ layer }) => positions.has(layer));
  let found = root === "";
  for (const path of root === "" ? [] : [...ancestorsOf(root), root]) {
    const kind = cover.enter(path, rowsOf(path))?.kind;
    // An empty directory is there, too.
    found = kind === "dir" || kind === "opaque";
  }
  if (!found) {
    throw new SourceError("not-found", `the image has no directory ${JSON.stringify(root)}`, {
      hint: "look at what it holds, and correct path=",
    });
  }
  const keys = new Map(layers.map((layer) => [database.layer(layer)?.id, layer.key]));
  const list = [...positions.keys()].join(", ");
  const page = database.db.prepare(
    `SELECT * FROM rows WHERE (path, layer) > (?, ?) AND path >= ? AND path < ? AND layer IN (${list})
     ORDER BY path, layer LIMIT ${BATCH}`,
  );
  const [from, to] = below(root);
  let group: StoredRow[] = [];
  let batch: Entry[] = [];
  const close = () => {
    const path = group[0]?.path;
    if (path === undefined) return;
    const top = cover.enter(path, group);
    if (top?.kind === "refused") judge(top, root, scope);
    else if (top !== undefined && isEntry(top))
      batch.push(toEntry(top, keys.get(top.layer) as string, root));
    group = [];
  };
  for (let path = "", layer = -1; ;) {
    const rows = page.all(path, layer, from, to) as unknown as StoredRow[];
    for (const row of rows) {
      if (row.path !== group[0]?.path) close();
      group.push(row);
    }
    const last = rows.at(-1);
    if (last === undefined || rows.length < BATCH) break;
    ({ path, layer } = last);
    if (batch.length > 0) yield batch;
    batch = [];
    await database.pause();
  }
  close();
  if (batch.length > 0) yield batch;
}

/** @param layer the key of the row's layer */
export function toEntry(row: StoredRow, layer: string, root: Root): Entry {
  const path = pathBelow(root, row.path);
  const mtime = row.mtime ?? undefined;
  if (row.kind === "link") return { kind: "symlink", path, target: row.target as string, mtime };
  const value = row.sha256 as string;
  return {
    kind: "file",
    path,
    size: row.size as number,
    mode: row.mode ?? undefined,
    mtime,
    fingerprint: `sha256:${value}`,
    digest: { algorithm: "sha256", value },
    ref:
      row.start === null || row.end === null || row.frames !== null
        ? layer
        : withFrame(layer, row.start, row.end),
  };
}
