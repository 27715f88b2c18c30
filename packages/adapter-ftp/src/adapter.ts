/** The adapter: an FTP server's directory, or one file of it, as a source. */
import { posix } from "node:path";
import { type Adapter, decodedPath, type Source, UsageError } from "@pannier/core/adapter";
import { type Root, treeSource } from "@pannier/file-server";
import { checkableFiles } from "@pannier/signatures";
import { askSize, askTime } from "./ask.ts";
import type { Connection } from "./connection.ts";
import { refusalOf, translate } from "./errors.ts";
import { fingerprintOf } from "./fingerprint.ts";
import { listTree } from "./list.ts";
import { bytesOf, checkArgument, textOf } from "./names.ts";
import { ftpOptions, tlsOf } from "./options.ts";
import { createPool, MAX_CONNECTIONS } from "./pool.ts";
import { readFile } from "./read.ts";

/** Where the source is on the server. */
interface FtpRoot extends Root {
  /** As bytes, without a `/` at the end. */
  readonly path: string;
}

export const ftpAdapter: Adapter<typeof ftpOptions> = checkableFiles({
  name: "ftp",
  package: "@pannier/adapter-ftp",
  schemes: ["ftp", "ftps"],
  options: ftpOptions,
  description: "a directory or file on an FTP server, with TLS or without",

  async open(location, options, context): Promise<Source> {
    const path = decodedPath(location);
    if (/[\r\n]/.test(path)) throw new UsageError("the source has a line break in its path");
    const { credentials, idleTimeout } = context;
    const tls = tlsOf(location.scheme, options.tls);
    const pool = createPool({ location, tls, credentials, env: process.env, idleTimeout });
    const { request, retry } = context;
    return treeSource(
      {
        concurrency: MAX_CONNECTIONS,
        // A part ends by hanging up, when the server has sent more of the file.
        ranges: "resume",
        async look(signal) {
          try {
            return await pool.run(signal, async (connection) => {
              request("stat");
              return findRoot(connection, path);
            });
          } catch (error) {
            signal.throwIfAborted();
            throw translate(error, "");
          }
        },
        list: ({ path: root }, signal, scope, onSpecial) =>
          listTree({ pool, root, signal, request, retry, scope, onSpecial }),
        read({ path: top, file }, entry, range, signal) {
          request("read");
          const below =
            entry.ref === undefined
              ? bytesOf(entry.path)
              : Buffer.from(entry.ref, "base64").toString("latin1");
          return readFile(pool, file === undefined ? `${top}/${below}` : top, entry, range, signal);
        },
        close: () => pool.close(),
      },
      context,
    );
  },
});

/** A URL's path begins at the login directory, and at the server's root where it begins with `%2F`: RFC 1738, 3.2.2. */
async function findRoot(connection: Connection, path: string): Promise<FtpRoot> {
  const { home } = connection;
  const bare = bytesOf(path).replace(/\/+$/, "");
  const full = checkArgument(bare.startsWith("//") ? bare.slice(1) : home + bare);
  const now = Date.now();
  try {
    await connection.send(`CWD ${full === "" ? "/" : full}`);
    return { path: full, file: undefined };
  } catch (error) {
    if (refusalOf(error)?.code !== 550) throw error;
    const size = await askSize(connection, full);
    if (size === undefined) throw error;
    const mtime = await askTime(connection, full);
    const name = textOf(posix.basename(full));
    const fingerprint = fingerprintOf({ size, mtime, written: "" }, now);
    return { path: full, file: { kind: "file", path: name, size, mtime, fingerprint } };
  }
}
