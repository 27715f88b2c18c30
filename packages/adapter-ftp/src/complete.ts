/** What a listing did not tell, asked for name by name. */
import { quotePath, SourceError } from "@pannier/core/adapter";
import { askSize, askTime, askTimes, isEnterable, isRefused } from "./ask.ts";
import type { Connection } from "./connection.ts";
import { refusalOf } from "./errors.ts";
import { type Line, parseMlsdLine } from "./lines.ts";
import { checkArgument, textOf } from "./names.ts";
import type { Pool } from "./pool.ts";
import { readLines, readList, type Directory } from "./read-lines.ts";

/** Files that one connection asks about in one go: what is more is shared out among several. */
const TOGETHER = 100;

export function isTold({ kind, size, mtime, target }: Line, asksTime: boolean): boolean {
  if (kind === "file") return size !== undefined && (mtime !== undefined || !asksTime);
  return kind === "symlink" ? target !== undefined : kind !== "unknown";
}

/**
 * Asks for what the listing did not tell: what is what, sizes, times, and what symlinks lead to.
 *
 * @returns what there is of it; what was deleted meanwhile is not there
 * @throws SourceError `invalid` on what cannot be told: left out, it would stand for a deletion
 */
export async function askAbout(
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
        const timeless = group.filter(({ kind, size }) => kind === "file" && size !== undefined);
        const paths = timeless.map(({ name }) => directory.path + name);
        paths.forEach(() => request("time"));
        (await askTimes(connection, paths)).forEach((mtime, index) => {
          const line = timeless[index] as Line;
          if (mtime instanceof Error) refused.push(line);
          else answers.push({ ...line, mtime });
        });
        for (const line of group) {
          if (line.kind === "file" && line.size !== undefined) continue;
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
      const facts = await askFacts(connection, path);
      if (facts !== undefined && facts.kind !== "unknown" && isTold(facts, false)) {
        return { ...facts, name: line.name };
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
