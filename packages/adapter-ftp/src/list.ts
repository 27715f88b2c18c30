/** Directories of an FTP server as entries. */
import {
  type Entry,
  quotePath,
  type Scope,
  type SourceContext,
  SourceError,
} from "@pannier/core/adapter";
import { type DirectoryItem, walk } from "@pannier/file-server";
import { askSize, askTime, isEnterable, isRefused } from "./ask.ts";
import type { Connection } from "./connection.ts";
import { refusalOf, translate } from "./errors.ts";
import { fingerprintOf } from "./fingerprint.ts";
import { type Line, lsParser, type ParseLine, parseMlsdLine } from "./lines.ts";
import { bytesOf, checkArgument, textOf } from "./names.ts";
import { MAX_CONNECTIONS, type Pool } from "./pool.ts";
import { eachLine } from "./text.ts";
import { receive } from "./transfer.ts";
import { isUnknown } from "./ways.ts";

/** Files that one connection asks about in one go: what is more is shared out among several. */
const TOGETHER = 100;
/** Lines that are waited for of a listing that cannot be read. */
const HEARD = 100;
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

/** A directory on the server. */
interface Directory {
  /** Relative to the root, with a `/` at the end; empty for the root. */
  readonly prefix: string;
  /** The same as bytes. */
  readonly bytes: string;
  /** On the server, as bytes, with a `/` at the end. */
  readonly path: string;
  /** No later than the moment it was looked at. */
  readonly now: number;
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

function isTold({ kind, size, mtime, target }: Line, asksTime: boolean): boolean {
  if (kind === "file") return size !== undefined && (mtime !== undefined || !asksTime);
  return kind === "symlink" ? target !== undefined : kind !== "unknown";
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

/** Begins to take lines; called anew for each way that is tried, with what came before in vain. */
type Start = () => (line: Line) => void;

/**
 * Lists a directory in the best way that the server knows. The directory is entered first: an argument of LIST may be taken
 * for options or a pattern.
 *
 * @throws FTPError 550 where it is gone or may not be read; SourceError `invalid` on a line that cannot be read
 */
async function readLines(connection: Connection, path: string, start: Start): Promise<void> {
  const { ways, send } = connection;
  await send(`CWD ${checkArgument(path)}`);
  if (ways.can("MLST")) {
    try {
      await readBy(connection, "MLSD", parseMlsdLine, start());
      return;
    } catch (error) {
      // Told of by FEAT, and then not known.
      if (!isUnknown(error) && refusalOf(error)?.code !== 501) throw error;
      ways.refuse("MLST");
    }
  }
  await readList(connection, path, start);
}

async function readList(connection: Connection, path: string, start: Start): Promise<void> {
  const { ways } = connection;
  const { parseList } = await import("basic-ftp");
  const parse = lsParser(parseList, path);
  if (ways.can("LIST-A")) {
    try {
      if (await readBy(connection, "LIST -a", parse, start())) return;
    } catch (error) {
      const code = refusalOf(error)?.code;
      const isLine = error instanceof SourceError && error.code === "invalid";
      if ((code === undefined && !isLine) || code === 425 || code === 426) throw error;
    }
    // A server that took -a for a name: not even the directory itself was in its answer.
  }
  const any = await readBy(connection, "LIST", parse, start()).catch((error: unknown) => {
    // The directory was entered; some say so of an empty one.
    const { code = 0, message = "" } = refusalOf(error) ?? {};
    const NONE = /\bno (?:files|data sets|members|entries)\b|\bempty\b/i;
    if ((code === 550 || code === 450) && NONE.test(message)) return false;
    throw error;
  });
  if (any) ways.refuse("LIST-A");
}

/** @returns whether anything came */
async function readBy(
  connection: Connection,
  command: string,
  parse: ParseLine,
  take: (line: Line) => void,
): Promise<boolean> {
  let lines = 0;
  let unreadable: unknown;
  await eachLine(receive(connection, command), (text) => {
    if (text === "") return;
    lines++;
    try {
      const line = parse(text);
      if (line !== undefined) take(line);
    } catch (error) {
      // A short answer is heard to its end: the connection is then good for another way to ask.
      if (lines > HEARD) throw error;
      unreadable ??= error;
    }
  });
  if (unreadable !== undefined) throw unreadable;
  return lines > 0;
}

/**
 * Asks for what the listing did not tell: what is what, sizes, times, and what symlinks lead to.
 *
 * @returns what there is of it; what was deleted meanwhile is not there
 * @throws SourceError `invalid` on what cannot be told: left out, it would stand for a deletion
 */
async function askAbout(
  pool: Pool,
  directory: Directory,
  open: readonly Line[],
  request: (operation: string) => void,
  signal: AbortSignal,
): Promise<readonly Line[]> {
  if (open.length === 0) return open;
  const lines = await findTargets(pool, directory, open, signal);
  const answers: Line[] = [];
  const refused: Line[] = [];
  const groups = Array.from({ length: Math.ceil(lines.length / TOGETHER) }, (_, index) =>
    lines.slice(index * TOGETHER, (index + 1) * TOGETHER),
  );
  await Promise.all(
    groups.map((group) =>
      pool.run(signal, async (connection) => {
        for (const line of group) {
          if (line.kind === "symlink" && line.target !== undefined) {
            answers.push(line);
            continue;
          }
          request("time");
          const answer = await ask(connection, directory.path + line.name, line);
          if (answer === undefined) refused.push(line);
          else answers.push(answer);
        }
      }),
    ),
  );
  if (refused.length > 0) {
    const there = await namesOf(pool, directory.path, signal);
    for (const line of refused) {
      if (!there.has(line.name)) continue;
      // Its time may be kept back, as of what may not be read: whoever reads it will see.
      if (line.kind !== "file" || line.size === undefined) throw untold(directory, line);
      answers.push(line);
    }
  }
  return answers;
}

/** Where MLSD keeps what symlinks lead to to itself, LIST may tell. */
async function findTargets(
  pool: Pool,
  { path }: Directory,
  open: readonly Line[],
  signal: AbortSignal,
): Promise<readonly Line[]> {
  if (!open.some(({ kind, target }) => kind === "symlink" && target === undefined)) return open;
  const targets = new Map<string, string>();
  await pool
    .run(signal, async (connection) => {
      if (!connection.ways.can("MLST")) return;
      await connection.send(`CWD ${checkArgument(path)}`);
      await readList(connection, path, () => ({ name, target }) => {
        if (target !== undefined) targets.set(name, target);
      });
    })
    .catch((error: unknown) => {
      // It need not be known how this server lists for people.
      if (refusalOf(error) === undefined && (error as SourceError).code !== "invalid") throw error;
    });
  return open.map((line) =>
    line.kind === "symlink" ? { ...line, target: line.target ?? targets.get(line.name) } : line,
  );
}

async function namesOf(
  pool: Pool,
  path: string,
  signal: AbortSignal,
): Promise<ReadonlySet<string>> {
  const names = new Set<string>();
  await pool.run(signal, (connection) =>
    readLines(
      connection,
      path,
      () =>
        ({ name }) =>
          names.add(name),
    ),
  );
  return names;
}

/** @returns `undefined` where the server refuses to tell: it may be gone */
async function ask(connection: Connection, path: string, line: Line): Promise<Line | undefined> {
  const { kind } = line;
  try {
    if (kind === "unknown") {
      const told = await askFacts(connection, path);
      if (told !== undefined && told.kind !== "unknown" && isTold(told, false)) {
        return { ...told, name: line.name };
      }
      if (await isEnterable(connection, path)) return { ...line, kind: "directory" };
    }
    // The size, the time and the mode of a symlink are its own: content comes from what it leads to.
    const ownSize = kind === "file" ? line.size : undefined;
    const size = ownSize ?? (await askSize(connection, path));
    if (size === undefined) return undefined;
    const mtime =
      (kind === "symlink" ? undefined : line.mtime) ?? (await askTime(connection, path));
    return { ...line, kind: "file", size, mtime, mode: kind === "file" ? line.mode : undefined };
  } catch (error) {
    if (isRefused(error)) return undefined;
    throw error;
  }
}

/** The facts of one name: RFC 3659, 7.2. The reply is `250-…`, a line with a blank and the facts, `250 …`. */
async function askFacts(connection: Connection, path: string): Promise<Line | undefined> {
  const { ways, send } = connection;
  if (!ways.can("MLST")) return undefined;
  try {
    const { message } = await send(`MLST ${checkArgument(path)}`);
    const facts = message.split("\n").find((text) => text.startsWith(" "));
    return facts === undefined ? undefined : parseMlsdLine(facts.slice(1));
  } catch (error) {
    if (refusalOf(error) === undefined && (error as SourceError).code !== "invalid") throw error;
    return undefined;
  }
}

function untold({ prefix }: Directory, { name, kind }: Line): SourceError {
  const path = quotePath(prefix + textOf(name));
  return kind === "symlink"
    ? new SourceError("invalid", `the server does not tell what the symlink ${path} leads to`, {
        hint: "exclude it, or let the server list targets (ProFTPD: FactsOptions UseSlink)",
      })
    : new SourceError("invalid", `the server does not tell what ${path} is`, {
        hint: "exclude it",
      });
}
