/** The adapter: an SFTP server's directory, or one file of it, as a source. */
import { posix } from "node:path";
import {
  type Adapter,
  decodedPath,
  type FileEntry,
  type Scope,
  type Source,
  SourceError,
  UsageError,
} from "@pannier/core/adapter";
import { leftOutWarning } from "@pannier/file-server";
import type { Attributes } from "ssh2";
import { createConnection, type Session } from "./connection.ts";
import { translate } from "./errors.ts";
import { fingerprintOf } from "./fingerprint.ts";
import { ask, type Told, told } from "./kind.ts";
import { listTree } from "./list.ts";
import { parseHostKey, sftpOptions } from "./options.ts";
import { readFile } from "./read.ts";
import { usernameOf } from "@pannier/ssh-client";

/** Where the source is on the server. */
interface Root {
  /** Without a `/` at the end: empty for the server's own root. */
  readonly path: string;
  /** Where the source is one file. */
  readonly file: FileEntry | undefined;
}

export const sftpAdapter: Adapter<typeof sftpOptions> = {
  name: "sftp",
  package: "@pannier/adapter-sftp",
  schemes: ["sftp"],
  options: sftpOptions,
  description: "a directory or file on an SSH server",

  async open(location, options, context): Promise<Source> {
    const { credentials, idleTimeout } = context;
    if (location.host === "") {
      throw new UsageError("an sftp source needs a host", "write sftp://user@host/path/");
    }
    usernameOf(location, credentials);
    const path = decodedPath(location).replace(/\/+$/, "");
    const connection = createConnection({
      location,
      trust: {
        host: location.host,
        port: location.port ?? 22,
        pinned: parseHostKey(options.hostKey),
        knownHostsFile: options.knownHosts ?? credentials.sshKnownHostsFile,
      },
      credentials,
      env: process.env,
      idleTimeout,
    });
    let root: Root | undefined;
    const listLeftOut = leftOutWarning(context.warn);

    async function look(session: Session, signal: AbortSignal): Promise<Root> {
      context.request("stat");
      const now = Date.now();
      try {
        const real = await absolute(session, path, signal);
        const at = real === "" ? "/" : real;
        const sent = await session.ask<Attributes>(signal, (sftp, done) => sftp.stat(at, done));
        const found = told(sent) ?? (await ask(session, at, "the source's path", { signal, sent }));
        root = { path: real, file: found && toFile(real, found, now) };
        return root;
      } catch (error) {
        throw translate(error, "");
      }
    }

    async function* entriesOf(found: Root, signal: AbortSignal, scope?: Scope) {
      const leftOut = listLeftOut();
      yield* listTree({
        connection,
        root: found.path,
        signal,
        request: context.request,
        retry: context.retry,
        scope,
        onSpecial: leftOut.add,
      });
      leftOut.tell();
    }

    return {
      ranges: true,
      concurrency: 32,

      async probe(signal) {
        signal.throwIfAborted();
        // Nothing cheaper than the listing tells.
        return undefined;
      },

      async list(signal, scope) {
        const found = await look(await connection.session(signal), signal);
        if (found.file !== undefined) return { ordered: true, entries: [[found.file]] };
        return { ordered: true, entries: entriesOf(found, signal, scope) };
      },

      async read(entry, range, signal) {
        const session = await connection.session(signal);
        const { path: top, file } = root ?? (await look(session, signal));
        context.request("read");
        const full = file === undefined ? `${top}/${entry.path}` : top;
        return readFile(session, full, entry, range, signal);
      },

      async close() {
        connection.close();
      },
    };
  },
};

/** `/~/` stands for the user's home, as in curl. */
async function absolute(session: Session, path: string, signal: AbortSignal): Promise<string> {
  const below = /^\/~(\/.*)?$/s.exec(path);
  if (below === null) return path;
  const home = await session.ask<string>(signal, (sftp, done) => sftp.realpath(".", done));
  return `${home.replace(/\/+$/, "")}${below[1] ?? ""}`;
}

function toFile(path: string, found: Told, now: number): FileEntry | undefined {
  const { kind, size, mode, mtime } = found;
  // A symlink by now can only be one whose type is not told where it leads to: then it is a directory, or fails as one.
  if (kind === "directory" || kind === "symlink") return undefined;
  if (kind === "special") {
    throw new SourceError("unsupported", "the source is neither a directory nor a regular file");
  }
  return {
    kind,
    path: posix.basename(path),
    size,
    mode,
    mtime: mtime === undefined ? undefined : mtime * 1000,
    fingerprint: fingerprintOf(found, now),
  };
}
