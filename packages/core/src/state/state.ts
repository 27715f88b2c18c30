/** The state of a mount: one SQLite file below the target. Opening, meta values and generations; queries on entries live where they are used. */
import { rmSync } from "node:fs";
import { DatabaseSync, type SQLInputValue, type StatementSync } from "node:sqlite";
import { isPlainName } from "../snapshot/path.ts";
import { UsageError } from "../source/errors.ts";
import { DamagedState } from "./damaged.ts";
import { SCHEMA, SCHEMA_VERSION } from "./schema.ts";

/** Of the files that SQLite keeps beside a database (https://www.sqlite.org/tempfiles.html). */
export const STATE_SUFFIXES = ["", "-wal", "-shm", "-journal"];

/** What is kept of each layer with the generation it went into. Holds no secrets. */
export interface LayerRecord {
  /** Digest of what makes fingerprints of two listings comparable: the adapter, and the redacted URL and options unless fingerprints are content digests. */
  readonly identity: string;
  /** Digest of all else that decides what a listing yields: the whole query, options, filters, `into`. */
  readonly view: string;
  /** The source, redacted. */
  readonly url: string;
  readonly adapter: string;
  readonly into: string;
  readonly revision: string;
  /** The probe's token, or null where the source has none. */
  readonly token: string | null;
  /** Content of the source's `.pannierignore`, and the fingerprint it was read at. */
  readonly ignore: { readonly fingerprint: string; readonly text: string } | null;
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

export interface State {
  readonly db: DatabaseSync;
  /** Makes it anew, with nothing in it: what was prepared before is of no use any more. */
  renew(): void;
  /** A prepared statement, kept for the life of the state. Never used for two iterations at once: see {@link State.prepare}. */
  sql(text: string): StatementSync;
  /** A statement of the caller's own, for iterating while others run. */
  prepare(text: string): Pick<StatementSync, "all" | "iterate">;
  close(): void;
}

/**
 * Opens or creates a state.
 *
 * @param readOnly for `status` and `history`, beside a running sync
 * @throws UsageError when it was written by a later version
 */
export function openState(file: string, readOnly = false): State {
  let db = openDatabase(file, readOnly);
  const statements = new Map<string, StatementSync>();
  // An iterator does not hold its statement, which would be collected under it (Node 22).
  const iterating = new Set<StatementSync>();
  return {
    get db() {
      return db;
    },
    renew() {
      statements.clear();
      iterating.clear();
      db.close();
      for (const suffix of STATE_SUFFIXES) rmSync(file + suffix, { force: true });
      db = openDatabase(file, readOnly);
    },
    sql(text) {
      let statement = statements.get(text);
      if (statement === undefined) {
        statement = db.prepare(text);
        statements.set(text, statement);
      }
      return statement;
    },
    prepare(text) {
      const statement = db.prepare(text);
      return {
        all: statement.all.bind(statement),
        *iterate(...values: SQLInputValue[]) {
          iterating.add(statement);
          try {
            yield* statement.iterate(...values);
          } finally {
            iterating.delete(statement);
          }
        },
      } as Pick<StatementSync, "all" | "iterate">;
    },
    close() {
      statements.clear();
      db.close();
    },
  };
}

/** A version beyond this was never written: the file is damaged. */
const LAST_VERSION = 1000;

function openDatabase(file: string, readOnly: boolean): DatabaseSync {
  const db = new DatabaseSync(file, { readOnly, timeout: 10_000 });
  try {
    const version = Number(db.prepare("PRAGMA user_version").get()?.["user_version"]);
    if (version > LAST_VERSION || version < 0) throw new DamagedState(`its schema is ${version}`);
    if (version > SCHEMA_VERSION) {
      throw new UsageError(
        `the state of this target was written by a later version of Pannier (its schema is ${version}, this program knows ${SCHEMA_VERSION})`,
        "use the version that wrote it, or an empty target",
      );
    }
    if (!readOnly) {
      // WAL lets `status` read beside a running sync, and loses nothing to a killed process. After a power cut the tree is verified anyway.
      db.exec(
        "PRAGMA journal_mode = WAL; PRAGMA synchronous = NORMAL; PRAGMA journal_size_limit = 4194304; PRAGMA cache_size = -8000",
      );
      if (version === 0) {
        if (db.prepare("SELECT 1 FROM sqlite_schema LIMIT 1").get() !== undefined)
          throw new DamagedState("it has tables and no version");
        db.exec(`BEGIN; ${SCHEMA} PRAGMA user_version = ${SCHEMA_VERSION}; COMMIT`);
      }
    }
    return db;
  } catch (error) {
    db.close();
    throw error;
  }
}
/** Runs synchronous work in one transaction. */
export function transaction<Result>(state: State, work: () => Result): Result {
  state.db.exec("BEGIN IMMEDIATE");
  try {
    const result = work();
    state.db.exec("COMMIT");
    return result;
  } catch (error) {
    rollBack(state);
    throw error;
  }
}

/** Empties one of the tables that hold work under way. Unlike a plain DELETE, which is quick for many rows, it writes nothing where there are none. */
export function empty(state: State, table: "plan" | "overlay" | "seen"): void {
  if (state.sql(`SELECT 1 FROM ${table} LIMIT 1`).get() !== undefined)
    state.db.exec(`DELETE FROM ${table}`);
}

/** Ends a transaction that failed. A full disk may have ended it already; what failed first is what counts. */
export function rollBack(state: State): void {
  try {
    state.db.exec("ROLLBACK");
  } catch {
    // There is none any more.
  }
}

export function getMeta(state: State, key: string): string | undefined {
  return state.sql("SELECT value FROM meta WHERE key = ?").get(key)?.["value"] as
    | string
    | undefined;
}

/** Sets a value, or removes it when `undefined`. Writes nothing when it is already so. */
export function setMeta(state: State, key: string, value: string | undefined): void {
  if (getMeta(state, key) === value) return;
  if (value === undefined) state.sql("DELETE FROM meta WHERE key = ?").run(key);
  else state.sql("INSERT OR REPLACE INTO meta (key, value) VALUES (?, ?)").run(key, value);
}

/** Generations, the newest first. */
export function generations(state: State): Generation[] {
  return state.sql("SELECT * FROM generations ORDER BY id DESC").all().map(toGeneration);
}

/** The newest generation: the published one, since an unfinished one is undone when the volume is opened. */
export function latestGeneration(state: State): Generation | undefined {
  const row = state.sql("SELECT * FROM generations ORDER BY id DESC LIMIT 1").get();
  return row === undefined ? undefined : toGeneration(row);
}

/** Generations whose trees are on the volume. */
export function countTrees(state: State): number {
  const row = state.sql("SELECT count(*) AS trees FROM generations WHERE tree IS NOT NULL").get();
  return row?.["trees"] as number;
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
