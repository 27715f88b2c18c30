/** The state of a mount: one SQLite file below the target. What is asked of its tables is in the modules beside this one. */
import type { SQLInputValue, SQLOutputValue, StatementSync } from "node:sqlite";
import { DatabaseSync } from "./sqlite.ts";
import { UsageError } from "../source/errors.ts";
import { moveLongLog } from "./checkpoint.ts";
import { DamagedState } from "./damaged.ts";
import { FROM_VERSION_1, SCHEMA, SCHEMA_VERSION } from "./schema.ts";
import { removeFile } from "../volume/files.ts";

/** Of the files that SQLite keeps beside a database (https://www.sqlite.org/tempfiles.html). */
export const STATE_SUFFIXES = ["", "-wal", "-shm", "-journal"];

export interface State {
  readonly file: string;
  readonly db: DatabaseSync;
  /** Makes it again, with nothing in it: what was prepared before is of no use any more. */
  renew(): void;
  /** A prepared statement, kept for the life of the state. Never used for two iterations at once: see {@link State.prepare}. */
  sql(text: string): StatementSync;
  /**
   * As {@link State.sql}, for many rows: each comes as an array of its columns, which costs a third of an object (20,000 rows of five columns: 9 ms
   * in place of 27).
   */
  rows(text: string): (...values: SQLInputValue[]) => SQLOutputValue[][];
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
  const lists = new Map<string, ReturnType<State["rows"]>>();
  // An iterator does not hold its statement, which would be collected under it (Node 22).
  const iterating = new Set<StatementSync>();
  return {
    file,
    get db() {
      return db;
    },
    renew() {
      statements.clear();
      lists.clear();
      iterating.clear();
      db.close();
      for (const suffix of STATE_SUFFIXES) removeFile(file + suffix);
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
    rows(text) {
      let list = lists.get(text);
      if (list === undefined) {
        list = listed(db.prepare(text));
        lists.set(text, list);
      }
      return list;
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
      lists.clear();
      db.close();
    },
  };
}

function listed(statement: StatementSync): ReturnType<State["rows"]> {
  // Node before 22.16 has objects only.
  if (!("setReturnArrays" in statement))
    return (...values) => (statement as StatementSync).all(...values).map(Object.values);
  statement.setReturnArrays(true);
  return (...values) => statement.all(...values) as unknown as SQLOutputValue[][];
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
      if (version === 1) bringUpToDate(db);
    }
    return db;
  } catch (error) {
    db.close();
    throw error;
  }
}

function bringUpToDate(db: DatabaseSync): void {
  try {
    db.exec(`BEGIN; ${FROM_VERSION_1} PRAGMA user_version = ${SCHEMA_VERSION}; COMMIT`);
  } catch (error) {
    // SQLITE_ERROR: it has not the tables of that version.
    if ((error as { errcode?: number }).errcode !== 1) throw error;
    throw new DamagedState("its tables are not those of its version", { cause: error });
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

/**
 * Runs work that gives others their turn in one transaction. Nobody else may use the state until it has ended: what they write would be
 * a part of it.
 *
 * @param keep false: all is undone at the end, whatever comes of it
 */
export async function longTransaction<Result>(
  state: State,
  work: () => Promise<Result>,
  keep = true,
): Promise<Result> {
  state.db.exec("PRAGMA wal_autocheckpoint = 0; BEGIN IMMEDIATE");
  let result: Result;
  try {
    result = await work();
    state.db.exec(keep ? "COMMIT" : "ROLLBACK");
  } catch (error) {
    rollBack(state);
    throw error;
  } finally {
    state.db.exec("PRAGMA wal_autocheckpoint = 1000");
  }
  await moveLongLog(state.file);
  return result;
}

/** Ends a transaction that failed. A full disk may have ended it already; what failed first is what counts. */
function rollBack(state: State): void {
  try {
    state.db.exec("ROLLBACK");
  } catch {
    // There is none any more.
  }
}

/** False where a process was killed before it had made them. */
export function hasTables(state: State): boolean {
  return state.sql("SELECT 1 FROM sqlite_schema WHERE name = 'generations'").get() !== undefined;
}

/** Gives back the memory of pages that were read: before a long wait nobody asks for them. */
export function shrinkCache(state: State): void {
  state.db.exec("PRAGMA shrink_memory");
}

/** Moves what was committed into the database, and gives back the room of the log. */
export function shrinkLog(state: State): void {
  state.db.exec("PRAGMA wal_checkpoint(TRUNCATE)");
}
