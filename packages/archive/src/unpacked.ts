/** An archive that was unpacked: its entries in order, and where their content is. */
import { hash } from "node:crypto";
import { existsSync } from "node:fs";
import { basename, join } from "node:path";
import { setImmediate } from "node:timers/promises";
import { type DatabaseSync, type Entry, type Scope, SourceError } from "@pannier/core/adapter";
import { PACKED_FILE, withPlace } from "./place.ts";

/** Rows read at once. */
const BATCH = 500;

export interface Unpacked {
  /**
   * In the order of their paths.
   *
   * @param ref kept with each entry, before where a lane finds its content
   * @throws SourceError where there is something that is wanted and was refused
   */
  entries(ref: string, scope?: Scope): AsyncGenerator<readonly Entry[]>;
  /** One of them, if it is there and was not refused. */
  entry(path: string, ref: string): Entry | undefined;
  /** Where a file's content is, as long as it is there. */
  find(path: string): Extent | undefined;
  /** Frees what is open; nothing is found any more. Never throws. */
  close(): void;
}

export interface Extent {
  readonly file: string;
  /** Where in the file it begins. */
  readonly start: number;
  /** True where the file holds nothing else. */
  readonly own: boolean;
}

/** A row of the table. */
export interface Row {
  readonly path: string;
  /** Of a symlink; `null` for a file. */
  readonly target: string | null;
  readonly size: number | null;
  readonly sha256: string | null;
  readonly mode: number | null;
  readonly mtime: number | null;
  /** Where its content begins in the file of small ones; `null` where it has a file of its own. */
  readonly start: number | null;
  /** Why it cannot be published, in JSON. */
  readonly failure: string | null;
}

/** @param table of the scratch files in `folder`, closed with what is returned */
export function openUnpacked(folder: string, table: DatabaseSync): Unpacked {
  const rowOf = rowReader(table);
  const refOf = ({ start }: Row, ref: string) =>
    start === null ? ref : withPlace(ref, basename(folder), start);
  let closed = false;
  return {
    async *entries(ref, scope) {
      const next = table.prepare(
        `SELECT * FROM entries WHERE path > ? ORDER BY path LIMIT ${BATCH}`,
      );
      for (let after = ""; ;) {
        if (closed) throw new SourceError("changed", "the archive was unpacked again");
        const rows = next.all(after) as unknown as Row[];
        const last = rows.at(-1);
        if (last === undefined) return;
        yield rows.flatMap((row) => {
          if (row.failure === null) return [toEntry(row, refOf(row, ref))];
          if (scope?.wants(row.path) === false) return [];
          throw toError(row.failure);
        });
        after = last.path;
        // Whoever takes them may do so at once: others have their turn between two batches.
        await setImmediate();
      }
    },
    entry(path, ref) {
      const row = closed ? undefined : rowOf(path);
      if (row === undefined || row.failure !== null) return undefined;
      return toEntry(row, refOf(row, ref));
    },
    find(path) {
      const row = closed ? undefined : rowOf(path);
      if (row === undefined || row.target !== null || row.failure !== null) return undefined;
      if (row.start !== null)
        return { file: join(folder, PACKED_FILE), start: row.start, own: false };
      const file = fileOf(folder, path);
      return existsSync(file) ? { file, start: 0, own: true } : undefined;
    },
    close() {
      if (!closed) table.close();
      closed = true;
    },
  };
}

export function rowReader(table: DatabaseSync): (path: string) => Row | undefined {
  const select = table.prepare("SELECT * FROM entries WHERE path = ?");
  return (path) => select.get(path) as unknown as Row | undefined;
}

/** The file that holds an entry's content. */
export function fileOf(folder: string, path: string): string {
  return join(folder, hash("sha256", path).slice(0, 40));
}

function toError(failure: string): SourceError {
  const { code, message, hint } = JSON.parse(failure) as SourceError;
  return new SourceError(code, message, {
    hint: `${hint ?? "repack it"}; --exclude leaves it out`,
  });
}

function toEntry({ path, target, size, sha256, mode, mtime }: Row, ref: string): Entry {
  const common = { path, mtime: mtime ?? undefined };
  if (target !== null) return { kind: "symlink", ...common, target };
  const value = sha256 as string;
  return {
    kind: "file",
    ...common,
    size: size as number,
    mode: mode ?? undefined,
    fingerprint: `sha256:${value}`,
    digest: { algorithm: "sha256", value },
    ref,
  };
}
