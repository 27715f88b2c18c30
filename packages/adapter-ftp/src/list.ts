/** Directories of an FTP server as entries. */
import {
  type Entry,
  quotePath,
  type Scope,
  type SourceContext,
  SourceError,
} from "@pannier/core/adapter";
import { type DirectoryItem, walk } from "@pannier/file-server";
import { refusalOf, translate } from "./errors.ts";
import { fingerprintOf } from "./fingerprint.ts";
import type { Line } from "./lines.ts";
import { textOf } from "./names.ts";
import { bytesOf } from "./path.ts";
import { MAX_CONNECTIONS, type Pool } from "./pool.ts";
import { readLines, type Directory } from "./read-lines.ts";
import { isTold, askAbout } from "./complete.ts";

/** Names that are counted together. */
const COUNTED = 1000;

export interface Listing {
  readonly pool: Pool;
  /** As bytes, without a `/` at the end. */
  readonly root: string;
  readonly signal: AbortSignal;
  readonly request: (operation: string) => void;
  readonly retry: SourceContext["retry"];
  readonly scope: Scope | undefined;
  /** Told of each FIFO, socket and device, which are left out. */
  readonly onSpecial: (path: string) => void;
}

export function listTree(listing: Listing): AsyncGenerator<readonly Entry[]> {
  /** Paths whose bytes are not their text in UTF-8: those below a name in another encoding. */
  const foreign = new Map<string, string>();
  const { signal, scope, onSpecial } = listing;
  return walk({
    read: (prefix, inner, count) =>
      listing.retry(() => readDirectory(listing, prefix, foreign, inner, count), inner),
    concurrency: MAX_CONNECTIONS,
    signal,
    scope,
    onSpecial,
  });
}

async function readDirectory(
  { pool, root, request, scope }: Listing,
  prefix: string,
  foreign: Map<string, string>,
  signal: AbortSignal,
  count: (names: number, characters: number) => void,
): Promise<readonly DirectoryItem[] | undefined> {
  const bytes = foreign.get(prefix) ?? bytesOf(prefix);
  const directory: Directory = { prefix, bytes, path: `${root}/${bytes}`, now: Date.now() };
  let items: DirectoryItem[] = [];
  let open: Line[] = [];
  try {
    await pool.run(signal, async (connection) => {
      request("list");
      const asksTime = connection.ways.can("MDTM");
      const start = () => {
        items = [];
        open = [];
        let characters = 0;
        return (line: Line) => {
          characters += line.name.length + (line.target?.length ?? 0);
          if ((items.length + open.length) % COUNTED === COUNTED - 1) {
            count(COUNTED, characters);
            characters = 0;
          }
          if (isTold(line, asksTime)) items.push(toItem(line, directory, foreign));
          else open.push(line);
        };
      };
      await readLines(connection, directory.path, start);
    });
  } catch (error) {
    signal.throwIfAborted();
    // Gone since its name was read, or not for us; the root has to be there.
    if (prefix === "" || refusalOf(error)?.code !== 550) throw translate(error, prefix);
    return whyUnreadable(pool, directory, error, signal);
  }
  if (scope?.filters === true) {
    // Nothing is asked about what is not wanted, as far as that is known.
    open = open.filter((line) => {
      const path = prefix + textOf(line.name);
      return scope.wants(path) || (line.kind === "unknown" && scope.enters(path));
    });
  }
  try {
    for (const line of await askAbout(pool, directory, open, request, signal)) {
      items.push(toItem(line, directory, foreign));
    }
  } catch (error) {
    signal.throwIfAborted();
    throw translate(error, prefix);
  }
  // Only now: until here it may be asked for once more.
  foreign.delete(prefix);
  return items;
}

function toItem(
  line: Line,
  { prefix, bytes, now }: Directory,
  foreign: Map<string, string>,
): DirectoryItem {
  const { kind, size, mode, mtime, written } = line;
  const name = textOf(line.name);
  const raw = bytes + line.name;
  const isForeign = raw !== bytesOf(prefix + name);
  if (kind === "directory") {
    if (isForeign) foreign.set(`${prefix}${name}/`, `${raw}/`);
    return { kind, name };
  }
  if (kind === "special") return { kind, name };
  if (kind === "symlink" && line.target !== undefined) {
    const target = textOf(line.target);
    return { kind: "entry", name, entry: (path) => ({ kind, path, target, mtime }) };
  }
  const ref = isForeign ? Buffer.from(raw, "latin1").toString("base64") : undefined;
  return fileItem({ name, size: size as number, mode, mtime, written, ref, now });
}

/** Of many thousands of names each keeps no more than this: what is made of it is made when its turn comes. */
function fileItem({
  name,
  size,
  mode,
  mtime,
  written,
  ref,
  now,
}: {
  readonly name: string;
  readonly size: number;
  readonly mode: number | undefined;
  readonly mtime: number | undefined;
  readonly written: string;
  readonly ref: string | undefined;
  readonly now: number;
}): DirectoryItem {
  return {
    kind: "entry",
    name,
    entry(path) {
      const fingerprint = fingerprintOf({ size, mtime, written }, now);
      return { kind: "file", size, mode, mtime, fingerprint, ref, path };
    },
  };
}

/** Servers answer 550 for what is gone as for what may not be read: the directory above tells which. */
async function whyUnreadable(
  pool: Pool,
  { path, prefix }: Directory,
  error: unknown,
  signal: AbortSignal,
): Promise<undefined> {
  const above = path.slice(0, path.lastIndexOf("/", path.length - 2));
  const name = path.slice(above.length + 1, -1);
  let line: Line | undefined;
  await pool
    .run(signal, (connection) =>
      readLines(connection, `${above}/`, () => (one) => {
        if (one.name === name) line = one;
      }),
    )
    .catch((reason: unknown) => {
      signal.throwIfAborted();
      // The walk looks further up.
      if (refusalOf(reason)?.code !== 550) throw translate(reason, prefix);
    });
  if (line === undefined) return undefined;
  if (line.kind === "directory" || line.kind === "unknown") {
    throw new SourceError(
      "auth",
      `${quotePath(prefix)} may not be read (the server's reply is 550)`,
      {
        reached: "signed-in",
        hint: "let the user who is signed in read it",
        cause: error,
      },
    );
  }
  throw new SourceError("changed", `${quotePath(prefix)} was replaced while it was listed`);
}
