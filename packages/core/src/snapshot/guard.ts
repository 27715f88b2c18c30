/** The guards between a plan and the tree: how much may vanish, how much may come. */
import { NoRoomError, RefusedError } from "../errors.ts";
import { UsageError } from "../source/errors.ts";
import { READ_AGAIN } from "../state/entries.ts";
import type { State } from "../state/state.ts";
import { SKIPPED } from "../state/row.ts";

/** What a plan does to the tree, in numbers. */
export interface PlanTotals {
  readonly added: number;
  readonly changed: number;
  readonly deleted: number;
  /** The tree after it: files and symlinks, and the bytes of its files as far as sources tell them. */
  readonly files: number;
  readonly bytes: number;
  /** What has to be fetched. */
  readonly fetchFiles: number;
  readonly fetchBytes: number;
  /** What is only read to be sure that it is what is published. It takes no room of its own unless it is not. */
  readonly rereadFiles: number;
  readonly rereadBytes: number;
}

export function planTotals(
  state: State,
  before: { readonly files: number; readonly bytes: number } = { files: 0, bytes: 0 },
): PlanTotals {
  const row = state
    .sql(
      `SELECT
        count(*) FILTER (WHERE change = 'A') AS added, count(*) FILTER (WHERE change = 'M') AS changed, count(*) FILTER (WHERE change = 'D') AS deleted,
        coalesce(sum(size) FILTER (WHERE change IN ('A', 'M') AND kind = 0), 0) AS put,
        count(*) FILTER (WHERE change IN ('A', 'M') AND kind = 0 AND same <> 1) AS fetchFiles,
        coalesce(sum(size) FILTER (WHERE change IN ('A', 'M') AND kind = 0 AND same <> 1), 0) AS fetchBytes,
        count(*) FILTER (WHERE change = 'T' AND same = ${READ_AGAIN}) AS rereadFiles,
        coalesce(sum(size) FILTER (WHERE change = 'T' AND same = ${READ_AGAIN}), 0) AS rereadBytes
      FROM plan WHERE wins = 1`,
    )
    .get() as unknown as {
    added: number;
    changed: number;
    deleted: number;
    put: number;
    fetchFiles: number;
    fetchBytes: number;
    rereadFiles: number;
    rereadBytes: number;
  };
  const gone = state
    .sql(
      `SELECT coalesce(sum((SELECT CASE kind WHEN 0 THEN size ELSE 0 END FROM entries WHERE entries.path = plan.path AND until IS NULL ORDER BY entries.layer DESC LIMIT 1)), 0) AS bytes
      FROM plan WHERE wins = 1 AND change IN ('M', 'D')`,
    )
    .get()?.["bytes"] as number;
  return {
    added: row.added,
    changed: row.changed,
    deleted: row.deleted,
    files: before.files + row.added - row.deleted,
    bytes: before.bytes + row.put - gone,
    fetchFiles: row.fetchFiles,
    fetchBytes: row.fetchBytes,
    rereadFiles: row.rereadFiles,
    rereadBytes: row.rereadBytes,
  };
}

/** True when the plan changes nothing that can be seen. */
export function isQuiet(totals: PlanTotals): boolean {
  return totals.added + totals.changed + totals.deleted === 0;
}

/** A layer of which the plan leaves nothing. */
export interface EmptiedLayer {
  readonly layer: number;
  /** Files and symlinks that it had. */
  readonly files: number;
}

/**
 * The first layer that had something and has nothing any more.
 *
 * @param layers how many sources the mount has: what came from others was taken off the list
 */
export function emptiedLayer(state: State, layers: number): EmptiedLayer | undefined {
  const losing = state
    .sql(
      `SELECT layer, count(*) AS files FROM plan WHERE kind <> ${SKIPPED} AND layer < ? GROUP BY layer HAVING max(put) = 0 ORDER BY layer`,
    )
    .all(layers) as unknown as EmptiedLayer[];
  return losing.find(({ layer }) => !hasSurvivor(state, layer));
}

/** Goes through entries until it finds one: only to be asked of a layer that loses something and gains nothing. */
function hasSurvivor(state: State, layer: number): boolean {
  const survivor = state
    .sql(
      `SELECT 1 FROM entries WHERE layer = ? AND until IS NULL AND kind <> ${SKIPPED}
       AND NOT EXISTS (SELECT 1 FROM plan WHERE plan.path = entries.path AND plan.layer = entries.layer) LIMIT 1`,
    )
    .get(layer);
  return survivor !== undefined;
}

/** Below this many files a large share of them is quickly gone, and nothing is refused for it. */
const GUARDED_FROM = 20;

const DELETE_HINT = "nothing was changed; if this is meant, allow it with --max-delete 100%";

/**
 * @param maxDelete `50%`, `1000`, or `undefined` for the default
 * @throws RefusedError when more would be deleted than allowed
 */
export function guardDeletes(
  totals: PlanTotals,
  filesBefore: number,
  maxDelete: string | number | undefined,
): void {
  const limit = parseMaxDelete(maxDelete);
  const tooMany =
    limit.count !== undefined
      ? totals.deleted > limit.count
      : totals.deleted > limit.share * filesBefore && filesBefore >= limit.from;
  if (!tooMany) return;
  throw new RefusedError(
    `${totals.deleted} of ${filesBefore} files would be deleted, more than --max-delete allows`,
    { hint: DELETE_HINT },
  );
}

/**
 * @param layers with the URLs of their sources, redacted
 * @throws RefusedError for a source of which nothing is left, unless that much may be deleted
 */
export function guardEmptied(
  emptied: EmptiedLayer | undefined,
  layers: readonly { readonly url: string }[],
  maxDelete: string | number | undefined,
): void {
  if (emptied === undefined) return;
  const { count = 0, share } = parseMaxDelete(maxDelete);
  if (share >= 1 || emptied.files <= count) return;
  throw new RefusedError(
    `the source has become empty: all that came from ${layers[emptied.layer]?.url} would be deleted`,
    { hint: DELETE_HINT },
  );
}

/** @throws UsageError on anything but a count or a percentage */
export function parseMaxDelete(value: string | number | undefined): {
  readonly count?: number;
  readonly share: number;
  readonly from: number;
} {
  if (value === undefined) return { share: 0.5, from: GUARDED_FROM };
  const [, number, percent] = /^(\d+(?:\.\d+)?)(%?)$/.exec(String(value)) ?? [];
  if (
    number === undefined ||
    (percent === "" && !/^\d+$/.test(number)) ||
    (percent === "%" && Number(number) > 100)
  ) {
    throw new UsageError(
      `${JSON.stringify(value)} is neither a number of files to delete nor a percentage`,
      "write 1000 or 50%",
    );
  }
  return percent === "%"
    ? { share: Number(number) / 100, from: 0 }
    : { count: Number(number), share: 0, from: 0 };
}

/** @throws RefusedError beyond maxFiles, NoRoomError beyond maxBytes */
export function guardSize(
  totals: PlanTotals,
  limits: { readonly maxFiles: number; readonly maxBytes: number },
): void {
  if (totals.files > limits.maxFiles) {
    throw new RefusedError(
      `the tree would have ${totals.files} files, more than the ${limits.maxFiles} allowed`,
      { hint: "raise --max-files, or exclude some" },
    );
  }
  if (totals.bytes > limits.maxBytes) {
    throw new NoRoomError(
      `the tree would have ${totals.bytes} bytes, more than the ${limits.maxBytes} of --max-bytes`,
      { hint: "raise --max-bytes, or exclude some files" },
    );
  }
}
