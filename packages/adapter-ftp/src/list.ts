/** Directories of an FTP server as entries. */
import { type Entry, quotePath, type SourceContext, SourceError } from "@pannier/core";
import { type DirectoryItem, walk } from "@pannier/walk";
import type { Connection } from "./connection.ts";
import { refusalOf, translate } from "./errors.ts";
import { fingerprintOf } from "./fingerprint.ts";
import { type Line, parseLs, parseMlsd, parseTime } from "./lines.ts";
import { bytesOf, checkArgument, textOf } from "./names.ts";
import { MOST, type Pool } from "./pool.ts";
import { receive } from "./transfer.ts";

/** Files that one connection asks about in one go: what is more is shared out among several. */
const TOGETHER = 100;

export interface Listing {
  readonly pool: Pool;
  /** As bytes, without a `/` at the end. */
  readonly root: string;
  readonly signal: AbortSignal;
  readonly request: (operation: string) => void;
  readonly retry: SourceContext["retry"];
  /** Told of what is neither file, directory nor symlink, and is left out; also twice. */
  readonly onSpecial: (path: string) => void;
}

export function listTree(listing: Listing): AsyncGenerator<readonly Entry[]> {
  /** Paths whose bytes are not their text in UTF-8: those below a name in another encoding. */
  const foreign = new Map<string, string>();
  const { signal } = listing;
  return walk({
    read: (prefix, inner) =>
      listing.retry(() => readDirectory(listing, prefix, foreign, inner), inner),
    concurrency: MOST,
    signal,
  });
}

async function readDirectory(
  { pool, root, request, onSpecial }: Listing,
  prefix: string,
  foreign: Map<string, string>,
  signal: AbortSignal,
): Promise<readonly DirectoryItem[] | undefined> {
  const bytes = foreign.get(prefix) ?? bytesOf(prefix);
  const path = `${root}/${bytes}`;
  const now = Date.now();
  let found: { lines: readonly Line[]; canTime: boolean } | undefined;
  try {
    found = await pool.run(signal, async (connection) => {
      request("list");
      return {
        lines: await readLines(connection, path),
        canTime: connection.features.has("MDTM"),
      };
    });
  } catch (error) {
    signal.throwIfAborted();
    // Gone since its name was read, or not for us; the root has to be there.
    if (prefix === "" || refusalOf(error)?.code !== 550) throw translate(error, prefix);
    return whyUnreadable(pool, path, prefix, error, signal);
  }
  const asked = await askFor(pool, path, found, request, signal).catch((error: unknown) => {
    signal.throwIfAborted();
    throw translate(error, prefix);
  });
  // Only now: until here it may be asked for once more.
  foreign.delete(prefix);
  return found.lines.flatMap((line): DirectoryItem[] => {
    const name = textOf(line.name);
    const relative = prefix + name;
    const raw = bytes + line.name;
    const isForeign = raw !== bytesOf(relative);
    if (line.kind === "directory") {
      if (isForeign) foreign.set(`${relative}/`, `${raw}/`);
      return [{ kind: "directory", name }];
    }
    if (line.kind === "symlink" && line.target !== undefined) {
      const target = textOf(line.target);
      const { mtime } = line;
      return [
        { kind: "entry", name, entry: (at) => ({ kind: "symlink", path: at, target, mtime }) },
      ];
    }
    const answer = asked.get(line.name);
    if (line.kind === "special" || (line.kind === "symlink" && answer === null)) {
      onSpecial(relative);
      return [];
    }
    // Gone between the two questions.
    if (answer === null) return [];
    const { size, mode, mtime, written } = { ...line, ...answer };
    const facts = {
      kind: "file",
      size,
      mode,
      mtime,
      fingerprint: fingerprintOf({ size, mtime, written }, now),
      ref: isForeign ? Buffer.from(raw, "latin1").toString("base64") : undefined,
    } as const;
    return [{ kind: "entry", name, entry: (at) => ({ ...facts, path: at }) }];
  });
}

/** Servers answer 550 for what is gone as for what may not be read: the directory above tells which. */
async function whyUnreadable(
  pool: Pool,
  path: string,
  prefix: string,
  error: unknown,
  signal: AbortSignal,
): Promise<undefined> {
  const above = path.slice(0, path.lastIndexOf("/", path.length - 2));
  const name = path.slice(above.length + 1, -1);
  const lines = await pool
    .run(signal, (connection) => readLines(connection, `${above}/`))
    .catch((reason: unknown) => {
      signal.throwIfAborted();
      // The walk looks further up.
      if (refusalOf(reason)?.code === 550) return [];
      throw translate(reason, prefix);
    });
  const line = lines.find((one) => one.name === name);
  if (line === undefined) return undefined;
  if (line.kind === "directory") {
    throw new SourceError(
      "auth",
      `${quotePath(prefix)} may not be read (the server's reply is 550)`,
      {
        hint: "let the user who is signed in read it",
        cause: error,
      },
    );
  }
  throw new SourceError("changed", `${quotePath(prefix)} was replaced while it was listed`);
}

/** The directory is entered first: an argument of LIST may be taken for options or a pattern. */
async function readLines(connection: Connection, path: string): Promise<readonly Line[]> {
  const { client, features } = connection;
  await client.send(`CWD ${checkArgument(path)}`);
  if (features.has("MLST")) return parseMlsd(await readText(connection, "MLSD"));
  const { parseList } = await import("basic-ftp");
  const parse = (text: string) => parseLs(text, parseList);
  if (connection.list === "LIST") return parse(await readText(connection, "LIST"));
  try {
    const text = await readText(connection, "LIST -a");
    if (text !== "") return parse(text);
  } catch (error) {
    const code = refusalOf(error)?.code;
    if (code === undefined || code === 425 || code === 426) throw error;
  }
  // A server that took -a for a name: not even the directory itself was in its answer.
  const text = await readText(connection, "LIST");
  if (text !== "") connection.list = "LIST";
  return parse(text);
}

async function readText(connection: Connection, command: string): Promise<string> {
  const chunks: Buffer[] = [];
  for await (const chunk of receive(connection, command)) chunks.push(chunk);
  return Buffer.concat(chunks).toString("latin1");
}

/** What a file's own commands tell of it. */
interface Answer {
  readonly mtime: number | undefined;
  readonly size?: number;
  readonly mode?: undefined;
}

/**
 * Asks for what a listing does not tell: times, where it is written for people, and what a symlink leads to whose target
 * is kept back. By name; `null` for what is no file, or gone.
 */
async function askFor(
  pool: Pool,
  path: string,
  { lines, canTime }: { readonly lines: readonly Line[]; readonly canTime: boolean },
  request: (operation: string) => void,
  signal: AbortSignal,
): Promise<ReadonlyMap<string, Answer | null>> {
  const answers = new Map<string, Answer | null>();
  const open = lines.filter(
    ({ kind, mtime, target }) =>
      (kind === "file" && mtime === undefined && canTime) ||
      (kind === "symlink" && target === undefined),
  );
  const groups = Array.from({ length: Math.ceil(open.length / TOGETHER) }, (_, index) =>
    open.slice(index * TOGETHER, (index + 1) * TOGETHER),
  );
  await Promise.all(
    groups.map((group) =>
      pool.run(signal, async (connection) => {
        for (const { name, kind } of group) {
          request("time");
          answers.set(name, await askAbout(connection, path + name, kind === "symlink"));
        }
      }),
    ),
  );
  return answers;
}

async function askAbout(
  { client, features }: Connection,
  path: string,
  isLink: boolean,
): Promise<Answer | null> {
  const ask = async (command: string) =>
    (await client.send(`${command} ${checkArgument(path)}`)).message.slice(4);
  try {
    const mtime = features.has("MDTM") ? parseTime(await ask("MDTM")) : undefined;
    // The size and mode of a link are its own.
    return isLink
      ? { mtime, size: Number.parseInt(await ask("SIZE"), 10), mode: undefined }
      : { mtime };
  } catch (error) {
    if (refusalOf(error)?.code === 550) return null;
    throw error;
  }
}
