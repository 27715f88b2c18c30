/** An SFTP server that answers, byte by byte, what a test tells it to: over a real ssh connection, however wrong that is. */
import { createHash, generateKeyPairSync } from "node:crypto";
import { once } from "node:events";
import type { AddressInfo, Socket } from "node:net";
import ssh2 from "ssh2";
import type { ParsedKey, ServerChannel } from "ssh2";
import { onTestFinished } from "vitest";

/** Requests by the protocol's numbers (draft-ietf-secsh-filexfer-02, 3). */
const OPENDIR = 11;
const READDIR = 12;
const [INIT, VERSION, OPEN, CLOSE, READ, LSTAT, FSTAT] = [1, 2, 3, 4, 5, 7, 8];
const [REALPATH, STAT, READLINK] = [16, 17, 19];
const NAMES: Readonly<Record<number, string>> = {
  [OPEN]: "open",
  [CLOSE]: "close",
  [READ]: "read",
  [LSTAT]: "lstat",
  [FSTAT]: "fstat",
  [OPENDIR]: "opendir",
  [READDIR]: "readdir",
  [REALPATH]: "realpath",
  [STAT]: "stat",
  [READLINK]: "readlink",
};

interface Request {
  readonly id: number;
  /** Of the request; or the handle. */
  readonly path: string;
  readonly channel: ServerChannel;
}

/** A packet to answer with; `undefined` for none, or for one that the test sends itself. */
export type Answers = Readonly<Record<string, (request: Request) => Buffer | undefined>>;

export function uint32(value: number): Buffer {
  const bytes = Buffer.alloc(4);
  bytes.writeUInt32BE(value >>> 0);
  return bytes;
}

export function textOf(value: string | Buffer): Buffer {
  const bytes = Buffer.from(value as string);
  return Buffer.concat([uint32(bytes.length), bytes]);
}

/** @param length told in the place of the real one */
export function packet(type: number, id: number, rest: Buffer, length?: number): Buffer {
  const body = Buffer.concat([Buffer.from([type]), uint32(id), rest]);
  return Buffer.concat([uint32(length ?? body.length), body]);
}

export const status = (id: number, code: number) =>
  packet(101, id, Buffer.concat([uint32(code), textOf("no"), textOf("")]));
export const handle = (id: number) => packet(102, id, textOf("h"));

export interface Sent {
  readonly size?: number;
  readonly mode?: number;
  readonly mtime?: number;
}

function attributes({ size, mode, mtime }: Sent): Buffer {
  const flags =
    (size === undefined ? 0 : 1) | (mode === undefined ? 0 : 4) | (mtime === undefined ? 0 : 8);
  return Buffer.concat([
    uint32(flags),
    ...(size === undefined ? [] : [uint32(0), uint32(size)]),
    ...(mode === undefined ? [] : [uint32(mode)]),
    ...(mtime === undefined ? [] : [uint32(mtime), uint32(mtime)]),
  ]);
}

export const attrs = (id: number, sent: Sent) => packet(105, id, attributes(sent));

export function names(
  id: number,
  list: readonly { readonly name: string; readonly long?: string; readonly sent?: Sent }[],
): Buffer {
  const parts = list.map(({ name, long = "", sent = {} }) =>
    Buffer.concat([textOf(name), textOf(long), attributes(sent)]),
  );
  return packet(104, id, Buffer.concat([uint32(list.length), ...parts]));
}

interface Raw {
  readonly url: string;
  /** Connections that are open. */
  open(): number;
}

/** @param takes whether a connection is let in, by its number from 1 on. All are by default. */
export async function startRaw(
  answers: Answers,
  takes: (connection: number) => boolean = () => true,
): Promise<Raw> {
  const { privateKey } = generateKeyPairSync("ec", {
    namedCurve: "P-256",
    privateKeyEncoding: { type: "sec1", format: "pem" },
    publicKeyEncoding: { type: "spki", format: "pem" },
  });
  const key = (ssh2.utils.parseKey(privateKey) as ParsedKey).getPublicSSH();
  const clients = new Set<{ end(): void }>();
  let connections = 0;
  const server = new ssh2.Server({ hostKeys: [privateKey] }, (client) => {
    clients.add(client);
    // The types do not know it.
    (client as unknown as Pick<Socket, "setNoDelay">).setNoDelay(true);
    client.on("error", () => {});
    client.on("close", () => clients.delete(client));
    if (!takes(++connections)) client.end();
    client.on("authentication", (context) => context.accept());
    client.on("session", (accept) => {
      accept().on("subsystem", (open: () => ServerChannel) => serve(open(), answers));
    });
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  onTestFinished(async () => {
    const closed = once(server, "close");
    server.close();
    for (const client of clients) client.end();
    await closed;
  });
  const print = createHash("sha256").update(key).digest("base64").replace("=", "");
  const { port } = server.address() as AddressInfo;
  return {
    url: `sftp://u:p@127.0.0.1:${port}/top/?hostKey=SHA256:${encodeURIComponent(print)}`,
    open: () => clients.size,
  };
}

function serve(channel: ServerChannel, answers: Answers): void {
  let rest = Buffer.alloc(0);
  channel.on("error", () => {});
  channel.on("data", (chunk: Buffer) => {
    rest = Buffer.concat([rest, chunk]);
    while (rest.length >= 4 && rest.length >= 4 + rest.readUInt32BE()) {
      const body = rest.subarray(4, 4 + rest.readUInt32BE());
      rest = rest.subarray(4 + body.length);
      const type = body[0] as number;
      if (type === INIT) {
        channel.write(Buffer.concat([uint32(5), Buffer.from([VERSION]), uint32(3)]));
        continue;
      }
      const id = body.readUInt32BE(1);
      const path = body.toString("utf8", 9, 9 + body.readUInt32BE(5));
      const answer = answers[NAMES[type] ?? ""];
      const reply = answer === undefined ? ordinary(type, id) : answer({ id, path, channel });
      if (reply !== undefined) channel.write(reply);
    }
  });
}

function ordinary(type: number, id: number): Buffer {
  const OK = 0;
  const UNSUPPORTED = 8;
  if (type === STAT) return attrs(id, { mode: 0o040755, mtime: 1 });
  if (type === OPENDIR || type === OPEN) return handle(id);
  return status(id, type === CLOSE ? OK : UNSUPPORTED);
}
