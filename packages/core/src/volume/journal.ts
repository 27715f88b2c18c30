/** Fetching planned files to a place on the volume, many at once, and noting in the plan what was written. */
import { noteWritten, type WrittenFacts } from "../state/plan.ts";
import type { PublishedRow } from "../state/row.ts";
import { type State, transaction } from "../state/state.ts";

/** A file as it was written. */
export interface WrittenFile {
  readonly size: number;
  /** Null where it must not be kept: see `Source.secret`. */
  readonly sha256: string | null;
  readonly ino: number;
  readonly mtime: number;
}

/** A row whose content is to be fetched. */
export interface FetchJob {
  readonly row: PublishedRow;
  /** Called when it is begun: a path where nothing is yet, good until `release`. */
  at(): { readonly path: string; release(): void };
  /** Called when it is there, before the release. */
  done(written: WrittenFile): void;
}

/** What stages of the pipeline need of transfer, with retries, limits and progress already in it. */
export interface Fetcher {
  /** Fetches what comes, several at once, in any order; the first failure stops the others, which are waited for. */
  fetchAll(jobs: AsyncIterable<FetchJob> | Iterable<FetchJob>): Promise<void>;
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
  let pending: Parameters<Journal["note"]>[] = [];
  let bytes = 0;
  function flush(): void {
    if (pending.length === 0) return;
    const batch = pending;
    pending = [];
    bytes = 0;
    transaction(state, () => {
      for (const [row, facts] of batch) noteWritten(state, row, facts);
    });
  }
  return {
    note(row, facts) {
      pending.push([row, facts]);
      bytes += facts.size ?? 0;
      if (pending.length >= BATCH || bytes >= BATCH_BYTES) flush();
    },
    flush,
  };
}
