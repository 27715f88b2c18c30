/** What a name stands for where the server does not tell it by itself. */
import { quotePath, SourceError } from "@pannier/core/adapter";
import type { SFTPWrapper } from "ssh2";
import type { Callback, Session } from "./connection.ts";
import { isMissing, isRefusal } from "./errors.ts";
import { type Kind, type Sent, type Told, told } from "./told.ts";

/**
 * Asks for what a listing did not tell: by the attributes alone, else by trying what can be done with it.
 *
 * @param path on the server
 * @param name as it is told to the user
 * @returns `undefined` where it is gone by now
 * @throws SourceError `invalid` where the server does not tell; what the server answers
 */
export async function ask(
  session: Session,
  path: string,
  name: string,
  {
    signal,
    sent = {},
    longname = "",
  }: {
    readonly signal: AbortSignal;
    readonly sent?: Sent;
    readonly longname?: string;
  },
): Promise<Told | undefined> {
  let known = sent;
  try {
    const found = await session.ask<Sent>(signal, (sftp, done) => sftp.lstat(path, done));
    known = { ...sent, ...defined(found) };
  } catch (error) {
    if (isMissing(error)) return undefined;
    if (!isRefusal(error)) throw error;
  }
  const answer = told(known, longname);
  if (answer !== undefined) return answer;
  const make = (kind: Kind, size: number): Told => ({
    kind,
    size,
    mode: known.mode === undefined ? undefined : known.mode & 0o777,
    mtime: known.mtime,
  });
  if (await can(session, signal, (sftp, done) => sftp.readlink(path, done))) {
    return make("symlink", 0);
  }
  if (await opens(session, signal, (sftp, done) => sftp.opendir(path, done))) {
    return make("directory", 0);
  }
  const { size } = known;
  if (
    size !== undefined &&
    (await opens(session, signal, (sftp, done) => sftp.open(path, "r", done)))
  ) {
    return make("file", size);
  }
  throw new SourceError("invalid", `the server does not tell what ${quotePath(name)} is`, {
    hint: "exclude it",
  });
}

/** What a server left out is not there at all in what ssh2 makes of it, or `undefined`. */
function defined(sent: Sent): Sent {
  return Object.fromEntries(
    Object.entries(sent).filter(([, value]) => value !== undefined),
  ) as Sent;
}

type Send<Result> = (sftp: SFTPWrapper, done: Callback<Result>) => void;

async function can(session: Session, signal: AbortSignal, send: Send<unknown>): Promise<boolean> {
  try {
    await session.ask(signal, send);
    return true;
  } catch (error) {
    if (!isRefusal(error)) throw error;
    return false;
  }
}

async function opens(session: Session, signal: AbortSignal, send: Send<Buffer>): Promise<boolean> {
  const close = (handle: Buffer) => session.tell((sftp, done) => sftp.close(handle, done));
  return can(session, signal, (sftp, done) =>
    send(sftp, (error, handle) => {
      if (error === undefined || error === null) close(handle);
      done(error, handle);
    }),
  );
}
