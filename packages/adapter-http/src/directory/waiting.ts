/** Directories that are still to be asked for. */
import { SourceError } from "@pannier/core/adapter";

/** What the names of directories that wait to be asked for may take, in bytes or so: some 400,000. */
const MOST_WAITING = 32 * 1024 * 1024;
const NAME_COST = 64;

export interface Directory {
  /** With a `/` at the end, unless it is the root. */
  readonly path: string;
  /** Of which it is not sure that it is there. */
  readonly doubtful: boolean;
}

/** Directories that are still to be asked for: those found last come first. */
export interface Waiting {
  readonly size: number;
  /** Adds one that is in the directory at `path`. @throws SourceError `invalid` where there are too many */
  add(path: string, name: string, doubtful: boolean): void;
  take(): Directory | undefined;
}

export function createWaiting(): Waiting {
  // Names only, by the directory that they are in: a path is far longer.
  const folders: {
    readonly path: string;
    readonly names: string[];
    readonly doubtful: Set<string>;
  }[] = [];
  let size = 0;
  let cost = 0;
  return {
    get size() {
      return size;
    },
    add(path, name, doubtful) {
      size++;
      cost += name.length + NAME_COST;
      if (cost > MOST_WAITING) {
        throw new SourceError(
          "invalid",
          `the index shows ever more directories: ${size} are waiting`,
          {
            hint: "name a directory further down in the URL, or put a SHA256SUMS file there",
          },
        );
      }
      let folder = folders.at(-1);
      if (folder?.path !== path) folders.push((folder = { path, names: [], doubtful: new Set() }));
      folder.names.push(name);
      if (doubtful) folder.doubtful.add(name);
    },
    take() {
      const folder = folders.at(-1);
      const name = folder?.names.pop();
      if (folder === undefined || name === undefined) return undefined;
      size--;
      cost -= name.length + NAME_COST;
      if (folder.names.length === 0) folders.pop();
      return { path: `${folder.path}${name}/`, doubtful: folder.doubtful.has(name) };
    },
  };
}
