/** Lines of a directory, listed in the best way that the server knows. */
import { SourceError } from "@pannier/core/adapter";
import type { Connection } from "./connection.ts";
import { refusalOf } from "./errors.ts";
import { type Line, lsParser, type ParseLine, parseMlsdLine } from "./lines.ts";
import { checkArgument } from "./names.ts";
import { eachLine } from "./text.ts";
import { receive } from "./transfer.ts";
import { isUnknown } from "./ways.ts";

/** Lines that are waited for of a listing that cannot be read. */
const HEARD = 100;

/** Begins to take lines; called again for each way that is tried, with what came before in vain. */
type Start = () => (line: Line) => void;

/**
 * Lists a directory in the best way that the server knows. The directory is entered first: an argument of LIST may be taken
 * for options or a pattern.
 *
 * @throws FTPError 550 where it is gone or may not be read; SourceError `invalid` on a line that cannot be read
 */
export async function readLines(connection: Connection, path: string, start: Start): Promise<void> {
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

export async function readList(connection: Connection, path: string, start: Start): Promise<void> {
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

/** A directory on the server. */
export interface Directory {
  /** Relative to the root, with a `/` at the end; empty for the root. */
  readonly prefix: string;
  /** The same as bytes. */
  readonly bytes: string;
  /** On the server, as bytes, with a `/` at the end. */
  readonly path: string;
  /** No later than the moment it was looked at. */
  readonly now: number;
}
