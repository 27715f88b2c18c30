/** What is in a tree, in order. */
import { lstatSync, opendirSync, readdirSync, type Stats } from "node:fs";
import { comparePaths, parentOf } from "../source/path.ts";
import { type Pause, sortInSlices } from "../timing/slices.ts";
import { isMissing, type OpenDirectories, type OpenDirectory } from "./open-directories.ts";
import { removeTreeAtOnce } from "./remove.ts";

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

/** A directory that the walk is in. */
interface Level {
  readonly directory: string;
  readonly open: OpenDirectory;
  names: readonly Name[];
  /** How many of them are done. */
  done: number;
}

interface Name {
  readonly name: string;
  /** A directory sorts as if its name ended in a slash: then whole paths are in order. */
  readonly key: string;
}

/** See `Tree.walk`. One generator for all levels: an entry that is handed up through many costs a promise at each. */
export async function* walkTree(
  directories: OpenDirectories,
  pause: Pause,
): AsyncGenerator<WalkedEntry> {
  const levels: Level[] = [];
  const enter = async (directory: string) => {
    const level: Level = {
      directory,
      open: directories.use(directory, false),
      names: [],
      done: 0,
    };
    levels.push(level);
    level.names = await namesIn(level.open.path, pause);
  };
  try {
    await enter("");
    for (let level = levels.at(-1); level !== undefined; level = levels.at(-1)) {
      const { directory, open, names } = level;
      const next = names[level.done++];
      if (next === undefined) {
        if (names.some(({ name }) => name.includes("\uFFFD")))
          yield* nonUtf8Entries(directories, directory, open.path);
        levels.pop();
        open.users--;
        const parent = levels.at(-1);
        if (parent !== undefined) yield* entryIn(parent, directory);
        continue;
      }
      const { name, key } = next;
      if (name.includes("\uFFFD") && !isPresent(`${open.path}/${name}`)) continue;
      const path = directory === "" ? name : `${directory}/${name}`;
      if (key !== name) {
        try {
          await enter(path);
          continue;
        } catch (error) {
          // Somebody else has just replaced it.
          if (!isMissing(error) || levels.at(-1) !== level) throw error;
        }
      }
      yield* entryIn(level, path);
    }
  } finally {
    for (const { open } of levels) open.users--;
  }
}

function* entryIn({ open }: Level, path: string): Generator<WalkedEntry> {
  const name = path.slice(parentOf(path) === "" ? 0 : parentOf(path).length + 1);
  const stats = lstatSync(`${open.path}/${name}`, { throwIfNoEntry: false });
  if (stats !== undefined) yield { path, stats };
}

/** Names read in one go. */
const BATCH = 1000;

async function namesIn(directory: string, pause: Pause): Promise<readonly Name[]> {
  const names: Name[] = [];
  const listing = opendirSync(directory, { bufferSize: BATCH });
  try {
    for (let entry = listing.readSync(); entry !== null; entry = listing.readSync()) {
      const { name } = entry;
      names.push({ name, key: entry.isDirectory() ? `${name}/` : name });
      await pause();
    }
  } finally {
    listing.closeSync();
  }
  return sortInSlices(names, (a, b) => comparePaths(a.key, b.key));
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
      removeTreeAtOnce(raw);
    };
    yield { path: directory === "" ? name : `${directory}/${name}`, stats, nonUtf8: { remove } };
  }
}

function isPresent(path: string): boolean {
  return lstatSync(path, { throwIfNoEntry: false }) !== undefined;
}
