/** A small SFTP server in the test's process, on ssh2's server side: a real ssh connection, and the files of a directory. */
import { createHash, generateKeyPairSync, timingSafeEqual } from "node:crypto";
import { once } from "node:events";
import { constants } from "node:fs";
import { type FileHandle, lstat, open, readdir, readlink, realpath, stat } from "node:fs/promises";
import type { AddressInfo, Socket } from "node:net";
import { join } from "node:path";
import ssh2 from "ssh2";
import type {
  AuthContext,
  FileEntry,
  ParsedKey,
  ServerConnectionListener,
  SFTPWrapper,
} from "ssh2";

const { STATUS_CODE } = ssh2.utils.sftp;

export interface SftpServer {
  readonly port: number;
  /** As in a known hosts file: `ecdsa-sha2-nistp256 AAAA…`. */
  readonly hostKey: string;
  readonly fingerprint: string;
  /** Ends all connections, and lets nobody in any more. */
  close(): Promise<void>;
}

export interface SftpServerInit {
  /** Whether somebody may sign in. Default: everybody. */
  readonly admit?: (context: AuthContext) => boolean;
  /** Methods offered to those who are not admitted. */
  readonly methods?: readonly ("password" | "publickey" | "keyboard-interactive")[];
  /** Where the user's home is. */
  readonly home?: string;
  /** Called before each request for content. */
  readonly onRead?: (path: string, offset: number) => Promise<void>;
}

/** Text of the same length only; enough for a test, without telling times. */
export function same(a: string | Buffer, b: string | Buffer): boolean {
  const [x, y] = [Buffer.from(a), Buffer.from(b)];
  return x.length === y.length && timingSafeEqual(x, y);
}

export async function startSftpServer(init: SftpServerInit = {}): Promise<SftpServer> {
  // Not ssh2's own generator, which now and then makes a key that ssh2 cannot read.
  const { privateKey } = generateKeyPairSync("ec", {
    namedCurve: "P-256",
    privateKeyEncoding: { type: "sec1", format: "pem" },
    publicKeyEncoding: { type: "spki", format: "pem" },
  });
  const key = (ssh2.utils.parseKey(privateKey) as ParsedKey).getPublicSSH();
  const clients = new Set<Parameters<ServerConnectionListener>[0]>();
  const server = new ssh2.Server({ hostKeys: [privateKey] }, (client) => {
    clients.add(client);
    // As sshd does. The types do not know it.
    (client as unknown as Pick<Socket, "setNoDelay">).setNoDelay(true);
    client.on("error", () => {});
    client.on("close", () => clients.delete(client));
    client.on("authentication", (context) => {
      if (context.method === "none") return context.reject([...(init.methods ?? ["password"])]);
      if (init.admit?.(context) ?? true) context.accept();
      else context.reject([...(init.methods ?? ["password"])]);
    });
    client.on("session", (accept) => {
      accept().on("sftp", (acceptSftp) => serve(acceptSftp(), init));
    });
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  return {
    port: (server.address() as AddressInfo).port,
    hostKey: `ecdsa-sha2-nistp256 ${key.toString("base64")}`,
    fingerprint: `SHA256:${createHash("sha256").update(key).digest("base64").replace("=", "")}`,
    async close() {
      const closed = once(server, "close");
      server.close();
      for (const client of clients) client.end();
      await closed;
    },
  };
}

type Opened =
  | { readonly path: string; readonly file: FileHandle }
  | { readonly path: string; readonly names: FileEntry[] };

function serve(sftp: SFTPWrapper, { home = "/", onRead }: SftpServerInit): void {
  const handles = new Map<number, Opened>();
  let last = 0;
  /** A client may rely on it that what concerns one file is done in the order in which it asked. Reads may be done side by side. */
  const reads = new Map<number, Promise<unknown>>();
  const afterReads = (handle: Buffer) => reads.get(handle.readUInt32BE());

  const answer = (id: number, work: Promise<void>) => {
    work.catch((error: NodeJS.ErrnoException) => {
      const missing = error.code === "ENOENT";
      const denied = error.code === "EACCES" || error.code === "EPERM";
      const status = missing ? "NO_SUCH_FILE" : denied ? "PERMISSION_DENIED" : "FAILURE";
      sftp.status(id, STATUS_CODE[status]);
    });
  };
  const give = (id: number, opened: Opened) => {
    const handle = Buffer.alloc(4);
    handle.writeUInt32BE(++last);
    handles.set(last, opened);
    sftp.handle(id, handle);
  };
  const opened = (handle: Buffer): Opened => {
    const found = handles.get(handle.readUInt32BE());
    if (found === undefined) throw new Error("no such handle");
    return found;
  };
  const fileOf = (handle: Buffer): Opened & { file: FileHandle } => {
    const found = opened(handle);
    if (!("file" in found)) throw new Error("not a file");
    return found;
  };

  sftp.on("REALPATH", (id, path) =>
    answer(
      id,
      (async () => {
        const filename = path === "." ? home : await realpath(path);
        sftp.name(id, [{ filename, longname: filename, attrs: {} as never }]);
      })(),
    ),
  );
  sftp.on("STAT", (id, path) =>
    answer(
      id,
      stat(path).then((found) => sftp.attrs(id, attributes(found))),
    ),
  );
  sftp.on("LSTAT", (id, path) =>
    answer(
      id,
      lstat(path).then((found) => sftp.attrs(id, attributes(found))),
    ),
  );
  sftp.on("READLINK", (id, path) =>
    answer(
      id,
      readlink(path).then((filename) =>
        sftp.name(id, [{ filename, longname: filename, attrs: {} as never }]),
      ),
    ),
  );
  sftp.on("OPENDIR", (id, path) =>
    answer(
      id,
      (async () => {
        const names = await readdir(path);
        const entries = await Promise.all(
          names.map(async (filename): Promise<FileEntry[]> => {
            const found = await lstat(join(path, filename)).catch(() => undefined);
            return found === undefined
              ? []
              : [{ filename, longname: filename, attrs: attributes(found) }];
          }),
        );
        give(id, { path, names: entries.flat() });
      })(),
    ),
  );
  sftp.on("READDIR", (id, handle) => {
    const found = opened(handle);
    if (!("names" in found)) return sftp.status(id, STATUS_CODE.FAILURE);
    if (found.names.length === 0) return sftp.status(id, STATUS_CODE.EOF);
    sftp.name(id, found.names.splice(0, 100));
  });
  sftp.on("OPEN", (id, path) =>
    answer(
      id,
      open(path, constants.O_RDONLY).then((file) => give(id, { path, file })),
    ),
  );
  sftp.on("FSTAT", (id, handle) =>
    answer(
      id,
      (async () => {
        const { file } = fileOf(handle);
        await afterReads(handle);
        sftp.attrs(id, attributes(await file.stat()));
      })(),
    ),
  );
  sftp.on("READ", (id, handle, offset, length) => {
    const read = (async () => {
      const { path, file } = fileOf(handle);
      await onRead?.(path, offset);
      const { bytesRead, buffer } = await file.read(Buffer.alloc(length), 0, length, offset);
      if (bytesRead === 0) sftp.status(id, STATUS_CODE.EOF);
      else sftp.data(id, buffer.subarray(0, bytesRead));
    })();
    reads.set(handle.readUInt32BE(), Promise.allSettled([afterReads(handle), read]));
    answer(id, read);
  });
  sftp.on("CLOSE", (id, handle) =>
    answer(
      id,
      (async () => {
        const [number, found] = [handle.readUInt32BE(), opened(handle)];
        await afterReads(handle);
        reads.delete(number);
        handles.delete(number);
        if ("file" in found) await found.file.close();
        sftp.status(id, STATUS_CODE.OK);
      })(),
    ),
  );
  sftp.on("error", () => {});
  sftp.on("close", () => {
    for (const found of handles.values()) if ("file" in found) void found.file.close();
  });
}

function attributes(stats: {
  mode: number;
  uid: number;
  gid: number;
  size: number;
  atimeMs: number;
  mtimeMs: number;
}) {
  const { mode, uid, gid, size, atimeMs, mtimeMs } = stats;
  const [atime, mtime] = [Math.floor(atimeMs / 1000), Math.floor(mtimeMs / 1000)];
  return { mode, uid, gid, size, atime, mtime };
}
