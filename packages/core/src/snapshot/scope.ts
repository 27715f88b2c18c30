/** What of one source is wanted: the mount's filters, and the source's own `.pannierignore` as soon as it is known. */
import { type Entry, type FileEntry, IGNORE_FILE, type Scope } from "../source/contract.ts";
import { SourceError } from "../source/errors.ts";
import { type Filter, ignoreFileFilter } from "./filter.ts";
import { escapes } from "../source/path.ts";

/** A source's `.pannierignore`. */
export interface IgnoreFile {
  readonly fingerprint: string;
  readonly text: string;
}

export interface SourceScope extends Scope {
  /** The one that answers go by; null where there is none. */
  readonly ignore: IgnoreFile | null;
  /** Set where answers went by another `.pannierignore` than there is: then the listing is of no use, and has failed. */
  readonly outdated: { readonly entry: FileEntry | undefined } | undefined;
}

/**
 * @param into directory of the tree that the source's content is put into; empty for its root
 * @param filter sees paths of the tree
 * @param assumed what the source's `.pannierignore` was when it was last read; null where it had none
 * @param read fetches its text
 */
export function makeScope(
  into: string,
  filter: Filter | undefined,
  assumed: IgnoreFile | null,
  read: (entry: FileEntry) => Promise<string>,
): SourceScope {
  const prefix = into === "" ? "" : `${into}/`;
  let ignore: IgnoreFile | null;
  let ignored: Filter | undefined;
  let outdated: SourceScope["outdated"];
  /** Whether an answer was given: what came of it would differ under another `.pannierignore`. */
  let asked = false;

  function goBy(file: IgnoreFile | null): void {
    ignore = file;
    ignored = file === null ? undefined : ignoreFileFilter(file.text);
  }
  goBy(assumed);

  return {
    get ignore() {
      return ignore;
    },
    get outdated() {
      return outdated;
    },
    get filters() {
      asked = true;
      return filter !== undefined || ignored !== undefined;
    },
    wants(path) {
      asked = true;
      if (filter === undefined && ignored === undefined) return true;
      if (path === IGNORE_FILE || escapes(path)) return true;
      return ignored?.wants(path) !== false && filter?.wants(prefix + path) !== false;
    },
    enters(directory) {
      asked = true;
      if (filter === undefined && ignored === undefined) return true;
      if (escapes(directory)) return true;
      return ignored?.enters(directory) !== false && filter?.enters(prefix + directory) !== false;
    },
    async ignoreFile(entry: Entry | undefined) {
      const file = entry?.kind === "file" ? entry : undefined;
      if (file?.fingerprint === ignore?.fingerprint) return;
      if (ignore !== null || asked) {
        outdated = { entry: file };
        throw new SourceError("changed", "its .pannierignore changed");
      }
      if (file !== undefined) goBy({ fingerprint: file.fingerprint, text: await read(file) });
    },
  };
}

/** The user's filters alone, for a look at a source that is not a sync. */
export function filterScope(filter: Filter | undefined): Scope {
  const { wants, enters } = makeScope("", filter, null, async () => "");
  return { filters: filter !== undefined, wants, enters, ignoreFile: async () => {} };
}

/** What is wanted of a listing: nothing else is ordered, counted against the limit of files, or judged. */
export async function* wantedEntries(
  batches: AsyncIterable<readonly Entry[]>,
  scope: Scope,
): AsyncGenerator<readonly Entry[]> {
  for await (const batch of batches) {
    yield scope.filters ? batch.filter(({ path }) => scope.wants(path)) : batch;
  }
}
