/** The adapter: an SFTP server's directory, or one file of it, as a source. */
import { extname, posix } from "node:path";
import {
  type Adapter,
  decodedPath,
  type FileEntry,
  type Source,
  type SourceContext,
  SourceError,
  UsageError,
} from "@pannier/core/adapter";
import { type Root, treeSource } from "@pannier/file-server";
import type { Attributes } from "ssh2";
import type { SignIn } from "./client.ts";
import { createConnection, type Session } from "./connection.ts";
import { translate } from "./errors.ts";
import { fingerprintOf } from "./fingerprint.ts";
import { ask } from "./kind.ts";
import { listTree } from "./list.ts";
import { parseHostKey, sftpOptions } from "./options.ts";
import { readFile } from "./read.ts";
import type { LaneData } from "./sftp-lane.ts";
import { type Told, told } from "./told.ts";
import { checkableFiles } from "@pannier/signatures";
import { usernameOf } from "@pannier/ssh-client";

/** Where the source is on the server. */
interface SftpRoot extends Root {
  /** Without a `/` at the end: empty for the server's own root. */
  readonly path: string;
}

export const sftpAdapter: Adapter<typeof sftpOptions> = checkableFiles({
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
    const signIn: SignIn = {
      location: { username: location.username, password: location.password },
      trust: {
        host: location.host,
        port: location.port ?? 22,
        pinned: parseHostKey(options.hostKey),
        knownHostsFile: options.knownHosts ?? credentials.sshKnownHostsFile,
      },
      credentials,
      env: { SSH_AUTH_SOCK: process.env["SSH_AUTH_SOCK"] },
    };
    const connection = createConnection({ ...signIn, idleTimeout });
    const { request, retry } = context;
    return treeSource(
      {
        concurrency: 32,
        ranges: true,
        look: async (signal) => look(await connection.session(signal), path, request, signal),
        list: ({ path: root }, signal, scope, onSpecial) =>
          listTree({ connection, root, signal, request, retry, scope, onSpecial }),
        async read({ path: top, file }, entry, range, signal) {
          const session = await connection.session(signal);
          request("read");
          const full = file === undefined ? `${top}/${entry.path}` : top;
          return readFile(session, full, entry, range, signal);
        },
        async lane({ path: root, file }, signal) {
          if (file !== undefined) return undefined;
          const { readSize } = await connection.session(signal);
          const data: LaneData = { signIn, root, readSize };
          const module = new URL(`./sftp-lane${extname(import.meta.url)}`, import.meta.url);
          return { module, data };
        },
        close: () => connection.close(),
      },
      context,
    );
  },
});

async function look(
  session: Session,
  path: string,
  request: SourceContext["request"],
  signal: AbortSignal,
): Promise<SftpRoot> {
  request("stat");
  const now = Date.now();
  try {
    const real = await absolute(session, path, signal);
    const at = real === "" ? "/" : real;
    const sent = await session.ask<Attributes>(signal, (sftp, done) => sftp.stat(at, done));
    const found = told(sent) ?? (await ask(session, at, "the source's path", { signal, sent }));
    return { path: real, file: found && toFile(real, found, now) };
  } catch (error) {
    throw translate(error, "");
  }
}

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
