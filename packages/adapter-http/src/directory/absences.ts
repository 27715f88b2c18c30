/** What an index lists and the server does not have: symlinks that lead nowhere, FIFOs, sockets. It is left out, and told. */
import { comparePaths, quotePath, SourceError } from "@pannier/core/adapter";

/** Paths that are remembered from one listing to the next; where there are more, everything is asked about. */
const MAX_PATHS = 10_000;

/**
 * A file that cannot be fetched because the server says that it does not exist would hold up all others for ever. So after a
 * failed read the next listing asks about the files of that directory; where another directory has such a file too, about all.
 */
export interface Absences {
  /** A file that was listed was not there when it was read. */
  missed(path: string): void;
  /** Begins a listing. */
  begin(): ListingAbsences;
}

interface ListingAbsences {
  /** Whether a file has to be asked about before it is listed. */
  isDoubtful(path: string): boolean;
  /** @param why `absent`: by its answer to a request for that file; else by the index itself */
  leaveOut(path: string, why?: "absent"): void;
  /** So many entries were listed. */
  found(count: number): void;
  /** Ends a listing that went through. @throws SourceError `not-found` where nothing is left of it */
  end(): void;
}

export function createAbsences(warn: (message: string) => void): Absences {
  let known = new Set<string>();
  const folders = new Set<string>();
  let everywhere = false;
  let warned = "";

  return {
    missed(path) {
      everywhere ||= folders.size > 0;
      folders.add(folderOf(path));
    },
    begin() {
      const absent = new Set<string>();
      let first: string | undefined;
      let count = 0;
      let absents = 0;
      let entries = 0;
      return {
        isDoubtful: (path) => everywhere || known.has(path) || folders.has(folderOf(path)),
        leaveOut(path, why) {
          // Answers come in any order; what is told is the same each time.
          if (first === undefined || comparePaths(path, first) < 0) first = path;
          count++;
          if (why !== "absent") return;
          absents++;
          if (absent.size < MAX_PATHS) absent.add(path);
        },
        found(more) {
          entries += more;
        },
        end() {
          if (entries === 0 && absents > 0) {
            throw new SourceError(
              "not-found",
              `the server lists ${quotePath(first as string)}, and says that it does not exist`,
            );
          }
          known = absent;
          folders.clear();
          everywhere = absents > MAX_PATHS;
          const more = count > 1 ? ` and ${count - 1} more` : "";
          const text =
            first === undefined
              ? ""
              : `left out what the server lists but does not have as a file: ${quotePath(first)}${more}`;
          if (text !== warned && text !== "") warn(text);
          warned = text;
        },
      };
    },
  };
}

function folderOf(path: string): string {
  return path.slice(0, path.lastIndexOf("/") + 1);
}
