/** The adapter: a directory of an NFS export, or one file of it, as a source. */
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
import { fingerprintOf, leftOutWarning, timeOf } from "@pannier/file-server";
import { CONNECTIONS, createConnection, Unanswered } from "./connection.ts";
import { translate } from "./errors.ts";
import { NFS, PORTMAPPER } from "./greet.ts";
import { listTree } from "./list.ts";
import { nfsOptions } from "./options.ts";
import type { Facts } from "./protocol.ts";
import { readFile } from "./read.ts";

export const nfsAdapter: Adapter<typeof nfsOptions> = {
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
      greeting:
        version === 4 || port !== undefined
          ? { host, port: port ?? NFS.port, program: NFS.program, version, idleTimeout }
          : { host, ...PORTMAPPER, idleTimeout },
    });
    /** The one file that the source is; `undefined` for a directory. */
    let root: { readonly file: FileEntry | undefined } | undefined;
    const listLeftOut = leftOutWarning(context.warn);

    async function look(signal: AbortSignal): Promise<NonNullable<typeof root>> {
      signal.throwIfAborted();
      context.request("look");
      const now = Date.now();
      try {
        const { facts } = await connection.ask({ ask: "look" }, signal);
        root = { file: toFile(path, facts as Facts, now) };
        return root;
      } catch (error) {
        throw error instanceof Unanswered ? translate(error.problem, "") : error;
      }
    }

    async function* entriesOf(signal: AbortSignal, scope?: Scope) {
      const leftOut = listLeftOut();
      yield* listTree({
        connection,
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
      // Some wait in the helper while others' answers are on their way.
      concurrency: 2 * CONNECTIONS,

      async probe(signal) {
        signal.throwIfAborted();
        // Nothing cheaper than the listing tells.
        return undefined;
      },

      async list(signal, scope) {
        const { file } = await look(signal);
        if (file !== undefined) return { ordered: true, entries: [[file]] };
        return { ordered: true, entries: entriesOf(signal, scope) };
      },

      async read(entry, range, signal) {
        signal.throwIfAborted();
        const { file } = root ?? (await look(signal));
        context.request("read");
        const name = file === undefined ? entry.path : "";
        return readFile(connection, name, entry, range, signal);
      },

      async identity() {
        const user = uid ?? process.getuid?.() ?? "none";
        const group = gid ?? process.getgid?.() ?? "none";
        return `uid ${user} and gid ${group}, as the server is told`;
      },

      async close() {
        connection.close();
      },
    };
  },
};

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
