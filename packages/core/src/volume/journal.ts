/** Fetching planned files to a place on the volume, many at once, and noting in the plan what was written. */
import type { PlannedRow } from "../state/entries.ts";
import type { PublishedRow } from "../state/row.ts";
import { type State, transaction } from "../state/state.ts";

/** A file as it was written. */
interface WrittenFile {
  readonly size: number;
  readonly sha256: string;
  readonly ino: number;
  readonly mtime: number;
}

/** Fetches the content of a row to a path where nothing is yet. */
type FetchRow = (
  row: PublishedRow,
  destination: string,
  signal: AbortSignal,
) => Promise<WrittenFile>;

/** What stages of the pipeline need of transfer, with retries, limits and progress already in it. */
export interface Fetcher {
  fetch: FetchRow;
  /** Runs `work` for each item, several at once; the first failure stops the others, which are waited for. */
  each<Item>(
    items: AsyncIterable<Item> | Iterable<Item>,
    work: (item: Item, signal: AbortSignal) => Promise<void>,
  ): Promise<void>;
}

/** What the plan learns of a file once it is on the volume. */
interface WrittenFacts {
  readonly size: number | null;
  readonly sha256: string | null;
  readonly ino: number | null;
  readonly disk_mtime: number | null;
  readonly change: PlannedRow["change"];
  /** `mirror`: the file's name in the staging directory. */
  readonly staged?: string | undefined;
}

/** Notes of what was written, committed in batches: a killed process loses the last moment's work, not the rest. */
export interface Journal {
  note(row: Pick<PublishedRow, "path" | "layer">, facts: WrittenFacts): void;
  flush(): void;
}

/** Files and bytes of a batch: a few large files are as much work as many small ones. */
const BATCH = 500;
const BATCH_BYTES = 16 * 2 ** 20;

export function openJournal(state: State): Journal {
  const update = state.sql(
    "UPDATE plan SET size = ?, sha256 = ?, ino = ?, disk_mtime = ?, change = ?, staged = ? WHERE path = ? AND layer = ?",
  );
  let pending: (string | number | null)[][] = [];
  let bytes = 0;
  function flush(): void {
    if (pending.length === 0) return;
    const batch = pending;
    pending = [];
    bytes = 0;
    transaction(state, () => {
      for (const values of batch) update.run(...values);
    });
  }
  return {
    note(row, facts) {
      pending.push([
        facts.size,
        facts.sha256,
        facts.ino,
        facts.disk_mtime,
        facts.change,
        facts.staged ?? null,
        row.path,
        row.layer,
      ]);
      bytes += facts.size ?? 0;
      if (pending.length >= BATCH || bytes >= BATCH_BYTES) flush();
    },
    flush,
  };
}
