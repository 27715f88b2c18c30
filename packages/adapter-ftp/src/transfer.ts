/** Data connections: passive, to the host of the control connection, encrypted as that is. */
import { connect as connectTcp, type Socket } from "node:net";
import { connect as connectTls, TLSSocket } from "node:tls";
import type { FTPResponse } from "basic-ftp";
import { largeReads, SourceError } from "@pannier/core/adapter";
import { type Connection, inTime } from "./connection.ts";
import { refusalOf } from "./errors.ts";

const UNREAD = /failed to open directory/i;

/**
 * Sends a command that is answered by a stream of data.
 *
 * The caller reads to the end, or leaves by `return()`; either way the control connection is then free for the next command, or
 * closed where it could not be put in order.
 *
 * @param offset bytes to be skipped by the server (REST)
 * @throws FTPError where the server refuses
 */
export async function* receive(
  connection: Connection,
  command: string,
  offset = 0,
): AsyncGenerator<Buffer> {
  const { client, idleTimeout } = connection;
  const data = await openData(connection);
  const control = client.ftp.socket;
  const began = Promise.withResolvers<void>();
  let finished: Promise<FTPResponse> | undefined;
  let left = true;
  // Whoever waits for data is told by the iterator; an error in between must not end the process.
  data.on("error", () => {});
  try {
    if (offset > 0) await seek(connection, offset);
    finished = client.ftp.handle(command, (reply, task) => {
      if (reply instanceof Error) {
        began.reject(reply);
        task.reject(reply);
      } else if (reply.code < 200) {
        // From here on the data connection shows signs of life, or does not.
        control.setTimeout(0);
        began.resolve();
      } else {
        began.resolve();
        task.resolve(reply);
      }
    });
    finished.catch(() => {});
    await inTime(began.promise, idleTimeout, () => connection.close());
    const chunks: AsyncIterator<Buffer> = data.iterator({ destroyOnReturn: true });
    for (;;) {
      const { done, value } = await inTime(chunks.next(), idleTimeout, () => connection.close());
      if (done === true) break;
      yield value;
    }
    control.setTimeout(idleTimeout);
    // The end of the data alone may be a cut.
    const reply = await inTime(finished, idleTimeout, () => connection.close());
    left = false;
    // vsftpd's word on a directory that may be entered and not be read: what it sent is not what is there.
    if (UNREAD.test(reply.message)) {
      throw new SourceError("auth", "the server may not read the directory", {
        reached: "signed-in",
        hint: "let the user who is signed in read it, or leave it out by --exclude",
      });
    }
  } finally {
    data.destroy();
    // Some servers end the session where an encrypted transfer was left in the middle, after having said the last word on it.
    // Listings are left only where they are refused: whoever sends such need not be waited for.
    const isOver = data instanceof TLSSocket || !command.startsWith("RETR ");
    if (left && isOver && data.bytesRead > 0) connection.close();
    else if (left && !client.closed) await awaitLastReply(connection, finished);
  }
}

/** Remembers where a server does not know how. */
async function seek({ send, ways }: Connection, offset: number): Promise<void> {
  try {
    await send(`REST ${offset}`);
  } catch (error) {
    if ((refusalOf(error)?.code ?? 0) >= 500) ways.refuse("REST");
    throw error;
  }
}

/** After a transfer that was left or refused: waits for the server's last word on it. */
async function awaitLastReply(
  connection: Connection,
  finished: Promise<unknown> | undefined,
): Promise<void> {
  const { client, idleTimeout } = connection;
  client.ftp.socket.setTimeout(idleTimeout);
  await inTime(finished ?? Promise.resolve(), idleTimeout, () => connection.close()).catch(
    (error: unknown) => {
      if (refusalOf(error) === undefined) connection.close();
    },
  );
}

async function openData(connection: Connection): Promise<Socket> {
  const { client, idleTimeout } = connection;
  const { ftp } = client;
  const port = await passivePort(connection);
  // Never the address that PASV tells: behind NAT it is the server's own, and a hostile server could name anybody's.
  const host = ftp.socket.remoteAddress;
  if (host === undefined) throw new SourceError("unavailable", "the server closed the connection");
  const secured = ftp.socket instanceof TLSSocket ? ftp.socket : undefined;
  const socket = connectTcp({
    host,
    port,
    ...(secured === undefined && { onread: largeReads() }),
  });
  connection.data = socket;
  await inTime(
    new Promise<void>((resolve, reject) => socket.once("connect", resolve).once("error", reject)),
    idleTimeout,
    () => socket.destroy(),
  );
  if (secured === undefined) return socket;
  // Servers want to see the control connection's session again, so that nobody else can have connected.
  const session = ftp.tlsSessionStore ?? secured.getSession();
  const secure = connectTls({
    ...ftp.tlsOptions,
    socket,
    ...(session === undefined ? {} : { session }),
  });
  secure.on("session", (next: Buffer) => (ftp.tlsSessionStore = next));
  return secure;
}

async function passivePort(connection: Connection): Promise<number> {
  const { ways } = connection;
  if (ways.can("EPSV")) {
    try {
      const { message } = await connection.send("EPSV");
      const port = /\((.)\1\1(\d{1,5})\1\)/.exec(message)?.[2];
      if (port !== undefined) return checkPort(Number(port));
    } catch (error) {
      if (refusalOf(error) === undefined) throw error;
    }
    ways.refuse("EPSV");
  }
  const { message } = await connection.send("PASV");
  const [, high, low] = /\d+,\d+,\d+,\d+,(\d{1,3}),(\d{1,3})/.exec(message) ?? [];
  if (high !== undefined && low !== undefined) return checkPort(Number(high) * 256 + Number(low));
  throw new SourceError("unavailable", "the server's reply to PASV cannot be read");
}

function checkPort(port: number): number {
  if (port > 0 && port < 65_536) return port;
  throw new SourceError("unavailable", `the server names port ${port} for its data`);
}
