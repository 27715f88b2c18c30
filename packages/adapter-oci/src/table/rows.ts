/** Rows of layers, and which of them an image shows: the topmost one at a path, unless a layer above took it away. */
import { type Scope, SourceError } from "@pannier/core/adapter";

/** The directory of an image that becomes the root of the source; empty for all of it. */
export type Root = string;

/** One path of a layer. */
export interface Row {
  readonly path: string;
  /** A file, a symlink, a directory; a whiteout of what lies below; a directory that hides all that lies below ("opaque"); what cannot be published. */
  readonly kind: "file" | "link" | "dir" | "whiteout" | "opaque" | "refused";
  readonly size: number | null;
  readonly mode: number | null;
  readonly mtime: number | null;
  /** Of a link; of what is refused, why, in JSON. */
  readonly target: string | null;
  readonly sha256: string | null;
  /** Where its frames begin in the layer and where the last one ends; `null` where it cannot be read by itself. */
  readonly start: number | null;
  readonly end: number | null;
  /** JSON of further frames, as pairs of their place in the layer and in the file. */
  readonly frames: string | null;
}

export interface StoredRow extends Row {
  readonly layer: number;
}

/** Whether it is something that an image shows as content. */
export function isEntry({ kind }: Row): boolean {
  return kind === "file" || kind === "link" || kind === "refused";
}

export function published(row: StoredRow | undefined): StoredRow | undefined {
  return row?.kind === "refused" ? undefined : row;
}

/** @throws SourceError why a row cannot be published, where it is wanted */
export function judge({ path, target }: Row, root: Root, scope: Scope | undefined): void {
  if (scope?.wants(pathBelow(root, path)) === false) return;
  const { code, message, hint } = JSON.parse(target as string) as SourceError;
  throw new SourceError(code, message, {
    hint: `${hint ?? "correct the image"}; --exclude leaves it out`,
  });
}

export function differs(a: Row, b: Row): boolean {
  return a.kind !== b.kind || a.sha256 !== b.sha256 || a.mode !== b.mode || a.target !== b.target;
}

/** The paths from the root's, which is empty, to the parent of a path. */
export function ancestorsOf(path: string): string[] {
  const ancestors = path === "" ? [] : [""];
  for (let at = path.indexOf("/"); at !== -1; at = path.indexOf("/", at + 1)) {
    ancestors.push(path.slice(0, at));
  }
  return ancestors;
}

/** The bounds of what lies below a directory: from the first, up to but without the second. */
export function below(directory: string): [string, string | Uint8Array] {
  // Any text comes before any bytes.
  return directory === "" ? ["", new Uint8Array(0)] : [`${directory}/`, `${directory}0`];
}

/** A path as the source has it, of one as the image has it. */
export function pathBelow(root: Root, path: string): string {
  return root === "" ? path : path.slice(root.length + 1);
}

/** The row of the uppermost layer of an image. */
function topOf(
  rows: readonly StoredRow[],
  positions: ReadonlyMap<number, number>,
): StoredRow | undefined {
  let top: StoredRow | undefined;
  let highest = -1;
  for (const row of rows) {
    const position = positions.get(row.layer) ?? -1;
    if (position > highest) [top, highest] = [row, position];
  }
  return top;
}

/** The uppermost layer of an image that hides what lies below a path in the layers under it; -1 where none does. */
function coverOf(rows: readonly StoredRow[], positions: ReadonlyMap<number, number>): number {
  let cover = -1;
  for (const { kind, layer } of rows) {
    if (kind !== "dir") cover = Math.max(cover, positions.get(layer) ?? -1);
  }
  return cover;
}

/** What an image shows at a path, by looking at its rows and at those of all above it. */
export function resolve(
  path: string,
  rows: readonly StoredRow[],
  positions: ReadonlyMap<number, number>,
  directory: (path: string) => readonly StoredRow[],
): StoredRow | undefined {
  const top = topOf(rows, positions);
  if (top === undefined || !isEntry(top)) return undefined;
  const place = positions.get(top.layer) as number;
  const hidden = ancestorsOf(path).some(
    (ancestor) => coverOf(directory(ancestor), positions) > place,
  );
  return hidden ? undefined : top;
}

/** Remembers, while paths come in order, what hides those that are below others. */
export function makeCover(positions: ReadonlyMap<number, number>) {
  const above: { readonly path: string; readonly cover: number }[] = [];
  return {
    /** @returns the row that shows at a path, if one does */
    enter(path: string, rows: readonly StoredRow[]): StoredRow | undefined {
      while (above.length > 0 && !path.startsWith(above.at(-1)?.path as string)) above.pop();
      let hidden = -1;
      for (const { path: ancestor, cover } of above) {
        if (ancestor === "" || path.startsWith(`${ancestor}/`)) hidden = Math.max(hidden, cover);
      }
      const cover = coverOf(rows, positions);
      if (cover > -1) above.push({ path, cover });
      const top = topOf(rows, positions);
      return top !== undefined && (positions.get(top.layer) as number) < hidden ? undefined : top;
    },
  };
}
