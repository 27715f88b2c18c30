/** The guards between a plan and the tree: how much may vanish, how much may come. */
import { NoRoomError, RefusedError } from "../errors.ts";
import { UsageError } from "../source/errors.ts";
import type { EmptiedLayer, PlanTotals } from "../state/plan-totals.ts";

/** True when the plan changes nothing that can be seen. */
export function isQuiet(totals: PlanTotals): boolean {
  return totals.added + totals.changed + totals.deleted === 0;
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
