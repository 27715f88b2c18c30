/** What is in a tree, in order. */
import { lstatSync, readdirSync, type Stats } from "node:fs";
import { comparePaths } from "../snapshot/path.ts";
import { isMissing, type OpenDirectories, type OpenDirectory } from "./open-directories.ts";
import { removeTree } from "./remove.ts";

export interface WalkedEntry {
  readonly path: string;
  readonly stats: Stats;
  readonly nonUtf8?: NonUtf8Entry;
}

/** What only its bytes name. */
interface NonUtf8Entry {
  /** Removes it, whole. */
  remove(): void;
}

/** See `Tree.walk`. */
export function walkTree(directories: OpenDirectories): Generator<WalkedEntry> {
  return walkDirectory(directories, "");
}

function* walkDirectory(directories: OpenDirectories, directory: string): Generator<WalkedEntry> {
  let open: OpenDirectory;
  try {
    open = directories.use(directory, false);
  } catch (error) {
    // Somebody else has just replaced it.
    if (directory !== "" && isMissing(error)) return;
    throw error;
  }
  try {
    const names = readdirSync(open.path, { withFileTypes: true });
    // A directory sorts as if its name ended in a slash: then whole paths are in order.
    const sorted = names
      .map((entry) => ({
        name: entry.name,
        key: entry.isDirectory() ? `${entry.name}/` : entry.name,
      }))
      .toSorted((a, b) => comparePaths(a.key, b.key));
    for (const { name, key } of sorted) {
      if (name.includes("\uFFFD") && !isPresent(`${open.path}/${name}`)) continue;
      const path = directory === "" ? name : `${directory}/${name}`;
      if (key !== name) {
        yield* walkDirectory(directories, path);
        const stats = lstatSync(`${open.path}/${name}`, { throwIfNoEntry: false });
        if (stats !== undefined) yield { path, stats };
      } else {
        const stats = lstatSync(`${open.path}/${name}`, { throwIfNoEntry: false });
        if (stats !== undefined) yield { path, stats };
      }
    }
    if (names.some(({ name }) => name.includes("\uFFFD")))
      yield* nonUtf8Entries(directories, directory, open.path);
  } finally {
    open.users--;
  }
}

/** Entries whose names are not Unicode: Node shows them with U+FFFD in place of what it cannot read. */
function* nonUtf8Entries(
  directories: OpenDirectories,
  directory: string,
  place: string,
): Generator<WalkedEntry> {
  for (const bytes of readdirSync(place, { encoding: "buffer" })) {
    const name = bytes.toString();
    if (Buffer.from(name).equals(bytes)) continue;
    const raw = Buffer.concat([Buffer.from(`${place}/`), bytes]);
    const stats = lstatSync(raw, { throwIfNoEntry: false });
    if (stats === undefined) continue;
    const remove = () => {
      directories.touched.add(directory);
      directories.loosenAt(directory);
      removeTree(raw);
    };
    yield { path: directory === "" ? name : `${directory}/${name}`, stats, nonUtf8: { remove } };
  }
}

function isPresent(path: string): boolean {
  return lstatSync(path, { throwIfNoEntry: false }) !== undefined;
}
