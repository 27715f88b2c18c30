/** A state that is damaged, and how that is told from a fault of the program's own. */
import { DatabaseSync } from "./sqlite.ts";
import { InternalError } from "../errors.ts";
import { SCHEMA } from "./schema.ts";

/** What is in the state cannot be. */
export class DamagedState extends InternalError {
  override readonly name = "DamagedState";
}

/** Whether SQLite says that the file is none of its own, or broken (SQLITE_NOTADB, SQLITE_CORRUPT; SQLITE_TOOBIG where a length is wrong; https://www.sqlite.org/rescode.html). */
export function isBroken(error: unknown): boolean {
  const { errcode } = error as { errcode?: number };
  return (
    error instanceof DamagedState ||
    (errcode !== undefined && [11, 18, 26].includes(errcode & 0xff))
  );
}

/**
 * Whether what was thrown comes of a damaged state. Many errors may: a table that is gone, a row twice, a value of another type. They are
 * told from faults of the program by looking through the whole state, which is done in no other case.
 */
export function isOfDamage(error: unknown, { db }: { readonly db: DatabaseSync }): boolean {
  if (isBroken(error)) return true;
  const { errcode } = error as { errcode?: number };
  // SQLITE_ERROR, _CONSTRAINT, _MISMATCH.
  const suspicious =
    errcode === undefined
      ? error instanceof TypeError || error instanceof SyntaxError || error instanceof RangeError
      : [1, 19, 20].includes(errcode & 0xff);
  return suspicious && !isSound(db);
}

function isSound(db: DatabaseSync): boolean {
  const fresh = new DatabaseSync(":memory:");
  try {
    fresh.exec(SCHEMA);
    const schema = "SELECT type, name, sql FROM sqlite_schema WHERE sql IS NOT NULL ORDER BY name";
    const wanted = fresh.prepare(schema).all();
    if (withoutComments(db.prepare(schema).all()) !== withoutComments(wanted)) return false;
    if (db.prepare("PRAGMA integrity_check(1)").get()?.["integrity_check"] !== "ok") return false;
    for (const { name } of wanted.filter(({ type }) => type === "table")) {
      const columns = fresh.prepare(`PRAGMA table_info(${name as string})`).all();
      const strange = columns
        .map((column) => `typeof(${column["name"] as string}) NOT IN (${typesOf(column)})`)
        .join(" OR ");
      const row = db.prepare(`SELECT 1 FROM ${name as string} WHERE ${strange} LIMIT 1`).get();
      if (row !== undefined) return false;
    }
    return hasSoundRecords(db);
  } catch {
    return false;
  } finally {
    fresh.close();
  }
}

/** Those of the version that made a table stay in it. */
function withoutComments(schema: readonly unknown[]): string {
  return JSON.stringify(schema).replaceAll(/ *--.*?\\n/g, "\\n");
}

function typesOf(column: Record<string, unknown>): string {
  const type = (column["type"] as string).toLowerCase();
  const maybeNull = column["notnull"] === 0 && column["pk"] === 0;
  return maybeNull ? `'${type}', 'null'` : `'${type}'`;
}

/** What is kept as JSON: whether it can be read, and is what it should be. */
const RECORDS: Readonly<Record<string, (value: never) => boolean>> = {
  candidate: ({ name, slot, base }: Record<string, unknown>) =>
    typeof name === "string" &&
    typeof slot === "number" &&
    (base === null || typeof base === "number"),
  mirroring: ({ staging, generation, settings }: Record<string, unknown>) =>
    typeof staging === "string" && isGeneration(generation) && typeof settings === "object",
  origins: (value: unknown) => isArrayOf(value, "string"),
  held: (value: unknown) =>
    value === "next" || Array.isArray((value as Record<string, unknown>)["tokens"]),
};

function isGeneration(value: unknown): boolean {
  const { revision, digest, layers } = value as Record<string, unknown>;
  return (
    typeof revision === "string" && /^[0-9a-f]{64}$/.test(digest as string) && areLayers(layers)
  );
}

const LAYER = ["identity", "view", "url", "adapter", "into", "revision"];

function areLayers(value: unknown): boolean {
  return (
    Array.isArray(value) &&
    value.every((layer: Record<string, unknown>) =>
      LAYER.every((key) => typeof layer[key] === "string"),
    )
  );
}

function isArrayOf(value: unknown, type: string): boolean {
  return Array.isArray(value) && value.every((item) => typeof item === type);
}

function hasSoundRecords(db: DatabaseSync): boolean {
  for (const [key, isRight] of Object.entries(RECORDS)) {
    const row = db.prepare("SELECT value FROM meta WHERE key = ?").get(key);
    if (row !== undefined && !isRight(JSON.parse(row["value"] as string) as never)) return false;
  }
  for (const row of db.prepare("SELECT revision, digest, layers FROM generations").iterate())
    if (!isGeneration({ ...row, layers: JSON.parse(row["layers"] as string) as unknown }))
      return false;
  return true;
}
