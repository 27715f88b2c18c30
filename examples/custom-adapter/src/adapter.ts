/**
 * Files kept in a table of an SQLite database, as a content editor might keep them: `sqlite:///path/site.db?table=pages`.
 * The table has the columns path TEXT PRIMARY KEY, content BLOB, version INTEGER (raised with every change).
 */
import { existsSync } from "node:fs";
import { DatabaseSync } from "node:sqlite";
import {
  type Adapter,
  decodedPath,
  type FileEntry,
  SourceError,
  UsageError,
} from "@pannier/core/adapter";

const PIECE = 1 << 18;

interface Row {
  readonly path: string;
  readonly size: number;
  readonly version: number;
}

export const adapter: Adapter = {
  name: "sqlite",
  package: "@pannier/example-custom-adapter",
  schemes: ["sqlite"],
  description: "files in a table of an SQLite database",
  options: {
    table: { type: "string", description: "table with the files", default: "files" },
  },

  async open(location, options, context) {
    const path = decodedPath(location);
    const table = String(options["table"]);
    // It becomes part of a statement, where parameters cannot stand.
    if (!/^\w+$/.test(table))
      throw new UsageError(`${JSON.stringify(table)} is not a table's name`);

    let db: DatabaseSync | undefined;
    /** Runs a query, with what can go wrong in the engine's words. */
    function ask<Result>(operation: string, query: (db: DatabaseSync) => Result): Result {
      context.request(operation);
      if (!existsSync(path)) throw new SourceError("not-found", "there is no such database");
      try {
        return query((db ??= new DatabaseSync(path, { readOnly: true })));
      } catch (error) {
        const message = (error as Error).message;
        if (/no such table/.test(message)) throw new SourceError("not-found", message);
        throw new SourceError("unavailable", message, { cause: error });
      }
    }

    /** In pieces, so that a large file is never held; each piece is of the version that was listed, or none is. */
    async function* pieces(entry: FileEntry, from: number, to: number, signal: AbortSignal) {
      const sql = `SELECT substr(content, ?, ?) AS piece, version FROM ${table} WHERE path = ?`;
      for (let at = from; at < to; at += PIECE) {
        signal.throwIfAborted();
        const size = Math.min(PIECE, to - at);
        const row = ask("read", (open) => open.prepare(sql).get(at + 1, size, entry.path));
        if (`v${row?.["version"]}` !== entry.fingerprint) {
          throw new SourceError("changed", "the row has another version, or is gone");
        }
        yield row?.["piece"] as Uint8Array;
      }
    }

    return {
      async probe(signal) {
        signal.throwIfAborted();
        const sql = `SELECT count(*) || '-' || coalesce(sum(version), 0) || '-' || coalesce(max(version), 0) AS token FROM ${table}`;
        const row = ask("probe", (open) => open.prepare(sql).get());
        return { token: row?.["token"] as string };
      },

      async list(signal) {
        signal.throwIfAborted();
        const sql = `SELECT path, length(content) AS size, version FROM ${table} ORDER BY path`;
        const rows = ask("list", (open) => open.prepare(sql).all()) as unknown as Row[];
        const entries = rows.map((row): FileEntry => ({
          kind: "file",
          path: row.path,
          size: row.size,
          fingerprint: `v${row.version}`,
        }));
        // SQLite's BINARY collation is the order that the engine asks for.
        return { ordered: true, entries: [entries] };
      },

      async read(entry, range, signal) {
        signal.throwIfAborted();
        const { offset = 0, length = Number.POSITIVE_INFINITY } = range ?? {};
        return pieces(entry, offset, Math.min(offset + length, entry.size ?? 0), signal);
      },

      async close() {
        db?.close();
        db = undefined;
      },
    };
  },
};
