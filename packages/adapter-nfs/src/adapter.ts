/** The adapter: a directory of an NFS export, or one file of it, as a source. */
import { posix } from "node:path";
import {
  type Adapter,
  decodedPath,
  type FileEntry,
  type Source,
  SourceError,
  UsageError,
} from "@pannier/core/adapter";
import { fingerprintOf, timeOf, treeSource } from "@pannier/file-server";
import { checkableFiles } from "@pannier/signatures";
import { CONNECTIONS, createConnection, Unanswered } from "./connection.ts";
import { translate } from "./errors.ts";
import { NFS, PORTMAPPER } from "./ping.ts";
import { listTree } from "./list.ts";
import { nfsOptions } from "./options.ts";
import type { Facts } from "./protocol.ts";
import { readFile } from "./read.ts";

export const nfsAdapter: Adapter<typeof nfsOptions> = checkableFiles({
  name: "nfs",
  package: "@pannier/adapter-nfs",
  schemes: ["nfs"],
  options: nfsOptions,
  description: "a directory or file of an NFS export, without mounting it",

  async open(location, options, context): Promise<Source> {
    const { host, port } = location;
    const { uid, gid, mountPort } = options;
    const { idleTimeout } = context;
    if (host === "") {
      throw new UsageError("an nfs source needs a host", "write nfs://host/export/path/");
    }
    if (location.username !== undefined || location.password !== undefined) {
      throw new UsageError(
        "NFS knows no user names and passwords",
        "say who reads by ?uid=…&gid=… instead",
      );
    }
    const version = options.version === "3" ? 3 : 4;
    if (version === 4 && mountPort !== undefined) {
      throw new UsageError('option "mountPort" is for version 3', "add version=3, or leave it out");
    }
    const path = posix.normalize(`/${decodedPath(location)}`).replace(/(?<=.)\/+$/, "");
    const connection = createConnection({
      start: { server: host, port, mountPort, version, path, uid, gid, idleTimeout },
      pingTarget:
        version === 4 || port !== undefined
          ? { host, port: port ?? NFS.port, program: NFS.program, version, idleTimeout }
          : { host, ...PORTMAPPER, idleTimeout },
    });
    const { request, retry } = context;
    const source = treeSource(
      {
        // Some wait in the helper while others' answers are on their way.
        concurrency: 2 * CONNECTIONS,
        ranges: true,
        async look(signal) {
          request("look");
          const now = Date.now();
          try {
            const { facts } = await connection.ask({ ask: "look" }, signal);
            return { file: toFile(path, facts as Facts, now) };
          } catch (error) {
            throw error instanceof Unanswered ? translate(error.problem, "") : error;
          }
        },
        list: (_, signal, scope, onSpecial) =>
          listTree({ connection, signal, request, retry, scope, onSpecial }),
        read({ file }, entry, range, signal) {
          request("read");
          return readFile(connection, file === undefined ? entry.path : "", entry, range, signal);
        },
        close: () => connection.close(),
      },
      context,
    );
    return {
      ...source,
      async identity() {
        const user = uid ?? process.getuid?.() ?? "none";
        const group = gid ?? process.getgid?.() ?? "none";
        return `uid ${user} and gid ${group}, as the server is told`;
      },
    };
  },
});

function toFile(path: string, facts: Facts, now: number): FileEntry | undefined {
  const { kind, size, mode } = facts;
  if (kind === "directory") return undefined;
  if (kind !== "file") {
    throw new SourceError("unsupported", "the source is neither a directory nor a regular file");
  }
  return {
    kind,
    path: posix.basename(path),
    size,
    mode: mode & 0o777,
    mtime: timeOf(facts),
    fingerprint: fingerprintOf(facts, now),
  };
}
