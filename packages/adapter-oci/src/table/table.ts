/**
 * What the layers of images hold, in a table of the source's scratch directory: a layer is looked at once, by its table of contents
 * or by unpacking it, and known from then on. Which of its rows an image shows is worked out when it is listed: the topmost one at
 * a path, unless a layer above took it away.
 */
import type { Change, Entry, Scope } from "@pannier/core/adapter";
import type { Layer } from "../image.ts";
import { compareImages, rowsOfDirectories } from "./compare.ts";
import { BATCH, openDatabase } from "./database.ts";
import { listEntries, toEntry } from "./entries.ts";
import { published, resolve, type Root, type Row } from "./rows.ts";
import { type RowWriter, writeLayer } from "./write.ts";

export interface LayerTable {
  /** Whether all of a layer is known. */
  has(layer: Layer): boolean;
  /** Whether any layer is known. */
  readonly isEmpty: boolean;
  /** Replaces what is known of a layer. Rows count once `finish` was called. */
  write(layer: Layer): RowWriter;
  /** The row of a file in a layer, or in another that has the same content there. */
  find(
    path: string,
    sha256: string,
    layer: string,
  ): { readonly row: Row; readonly layer: string } | undefined;
  /**
   * What an image shows, in the order of paths.
   *
   * @throws SourceError where it shows something that is wanted and cannot be published
   */
  entries(layers: readonly Layer[], root: Root, scope?: Scope): AsyncGenerator<readonly Entry[]>;
  /** What an image shows at one path of the source, if that can be published. */
  entry(path: string, layers: readonly Layer[], root: Root): Entry | undefined;
  /** What differs between two images; `undefined` where only their listings tell. */
  compare(
    from: readonly Layer[],
    to: readonly Layer[],
    root: Root,
    scope?: Scope,
  ): Promise<AsyncGenerator<readonly Change[]> | undefined>;
  image(digest: string): readonly Layer[] | undefined;
  images(): readonly (readonly Layer[])[];
  remember(digest: string, layers: readonly Layer[]): void;
  /** Forgets all other images, and the layers that only they have. */
  keepOnly(digest: string): Promise<void>;
  close(): void;
}

/**
 * Opens the table, or makes it.
 *
 * @param view what of the layers is in it, and how it was read: another view starts over
 */
export function openLayerTable(file: string, view: string): LayerTable {
  const database = openDatabase(file, view);
  const { db } = database;
  let runs = 0;
  return {
    has: (layer) => database.layer(layer)?.complete === 1,
    get isEmpty() {
      return db.prepare("SELECT 1 FROM layers WHERE complete = 1 LIMIT 1").get() === undefined;
    },
    write: (layer) => writeLayer(database, layer),
    find(path, sha256, key) {
      const rows = database
        .rowsAt(path)
        .filter((row) => row.kind === "file" && row.sha256 === sha256)
        .map((row) => ({ row, layer: database.keyOf(row.layer) }));
      return rows.find(({ layer }) => layer === key) ?? rows[0];
    },
    entries: (layers, root, scope) => listEntries(database, layers, root, scope),
    entry(path, layers, root) {
      const at = root === "" ? path : `${root}/${path}`;
      const { rowsAt, positionsOf } = database;
      const row = published(
        resolve(at, rowsAt(at), positionsOf(layers), rowsOfDirectories(rowsAt)),
      );
      return row === undefined ? undefined : toEntry(row, database.keyOf(row.layer), root);
    },
    compare: (from, to, root, scope) => compareImages(database, ++runs, from, to, root, scope),
    image(digest) {
      const text = db.prepare("SELECT layers FROM images WHERE digest = ?").get(digest)?.["layers"];
      return text === undefined ? undefined : (JSON.parse(text as string) as Layer[]);
    },
    images() {
      const rows = db.prepare("SELECT layers FROM images").all();
      return rows.map((row) => JSON.parse(row["layers"] as string) as Layer[]);
    },
    remember(digest, layers) {
      db.prepare("INSERT OR REPLACE INTO images VALUES (?, ?)").run(digest, JSON.stringify(layers));
    },
    async keepOnly(digest) {
      const kept = this.image(digest);
      if (kept === undefined) return;
      db.prepare("DELETE FROM images WHERE digest <> ?").run(digest);
      const keys = new Set(kept.map(({ key }) => key));
      const all = db.prepare("SELECT id, key FROM layers").all() as unknown as {
        id: number;
        key: string;
      }[];
      const some = db.prepare(
        `DELETE FROM rows WHERE layer = ? AND path IN (SELECT path FROM rows WHERE layer = ? LIMIT ${BATCH})`,
      );
      for (const { id, key } of all) {
        if (keys.has(key)) continue;
        db.prepare("UPDATE layers SET complete = 0 WHERE id = ?").run(id);
        while (some.run(id, id).changes > 0) await database.pause();
        db.prepare("DELETE FROM layers WHERE id = ?").run(id);
      }
    },
    close: database.close,
  };
}
