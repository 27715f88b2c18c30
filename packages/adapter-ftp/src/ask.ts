/** What a file's own commands tell of it. */
import type { Connection } from "./connection.ts";
import { refusalOf } from "./errors.ts";
import { checkArgument } from "./names.ts";
import { parseTime } from "./time.ts";
import { isUnknown } from "./ways.ts";

/**
 * Asks for a file's size in bytes.
 *
 * @returns `undefined` where the server cannot tell sizes
 * @throws FTPError where it tells none of this one
 */
export function askSize(connection: Connection, path: string): Promise<number | undefined> {
  return ask(connection, "SIZE", path, (text) =>
    /^\d{1,15}$/.test(text) ? Number(text) : undefined,
  );
}

/**
 * Asks for a file's modification time, in milliseconds.
 *
 * @returns `undefined` where the server cannot tell times
 * @throws FTPError where it tells none of this one
 */
export function askTime(connection: Connection, path: string): Promise<number | undefined> {
  return ask(connection, "MDTM", path, parseTime);
}

/** Times that are asked for at once. */
const AT_ONCE = 50;

/**
 * The same as {@link askTime}, of many files.
 *
 * @returns in their order; the error where the server tells none of a file
 */
export async function askTimes(
  connection: Connection,
  paths: readonly string[],
): Promise<readonly (number | undefined | Error)[]> {
  const { ways } = connection;
  const times: (number | undefined | Error)[] = [];
  while (times.length < paths.length) {
    const next = paths.slice(times.length, times.length + AT_ONCE);
    if (next.length === 1 || !ways.can("AT-ONCE") || !ways.can("MDTM")) {
      times.push(await askTime(connection, next[0] as string).catch(asAnswer));
      continue;
    }
    for (const reply of await connection.sendAll(next.map((path) => `MDTM ${path}`))) {
      const isNone = isUnknown(reply);
      if (isNone) ways.refuse("MDTM");
      if (reply instanceof Error) times.push(isNone ? undefined : asAnswer(reply));
      else times.push(parseTime(reply.message.slice(4)));
    }
  }
  return times;
}

/** @throws what is no word of the server's on this file */
function asAnswer(error: Error): Error {
  if (isRefused(error)) return error;
  throw error;
}

async function ask(
  connection: Connection,
  way: "SIZE" | "MDTM",
  path: string,
  parse: (text: string) => number | undefined,
): Promise<number | undefined> {
  const { ways } = connection;
  if (!ways.can(way)) return undefined;
  try {
    const { message } = await connection.send(`${way} ${checkArgument(path)}`);
    return parse(message.slice(4).trim());
  } catch (error) {
    if (!isUnknown(error)) throw error;
    ways.refuse(way);
    return undefined;
  }
}

/** Whether it can be entered: a directory, or a symlink to one. */
export async function isEnterable(connection: Connection, path: string): Promise<boolean> {
  try {
    await connection.send(`CWD ${checkArgument(path)}`);
    return true;
  } catch (error) {
    if (refusalOf(error) === undefined) throw error;
    return false;
  }
}

/** Whether the server says that there is no such thing, or not for us: it has one reply for both. */
export function isRefused(error: unknown): boolean {
  const code = refusalOf(error)?.code ?? 0;
  return code === 550 || code === 553 || code === 501;
}
