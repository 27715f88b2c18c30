/** The adapter: an FTP server's directory, or one file of it, as a source. */
import { extname, posix } from "node:path";
import { type Adapter, decodedPath, type Source, UsageError } from "@pannier/core/adapter";
import { type Root, treeSource } from "@pannier/file-server";
import { checkableFiles } from "@pannier/signatures";
import { askSize, askTime } from "./ask.ts";
import { type Connection, PORTS } from "./connection.ts";
import { refusalOf, translate } from "./errors.ts";
import { fingerprintOf } from "./fingerprint.ts";
import type { LaneData } from "./ftp-lane.ts";
import { listTree } from "./list.ts";
import { checkArgument, textOf } from "./names.ts";
import { ftpOptions, tlsOf } from "./options.ts";
import { bytesOf, contentPath } from "./path.ts";
import { createPool, MAX_CONNECTIONS } from "./pool.ts";
import { readFile } from "./read.ts";
import { loginOf } from "./sign-in.ts";

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
    /** Of all lanes, which are in threads. */
    const oneByOne = new Int32Array(new SharedArrayBuffer(4));
    return treeSource(
      {
        // Without TLS there are lanes, and beside all of theirs the connection that this thread keeps.
        concurrency: tls === "off" ? MAX_CONNECTIONS - 1 : MAX_CONNECTIONS,
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
        list({ path: root }, signal, scope, onSpecial) {
          pool.keepIdle(MAX_CONNECTIONS);
          return listTree({ pool, root, signal, request, retry, scope, onSpecial });
        },
        read({ path: top, file }, entry, range, signal) {
          request("read");
          const full = file === undefined ? contentPath(top, entry) : top;
          return readFile(pool, full, entry, range, signal);
        },
        async lane({ path: root, file }) {
          const { ways } = pool;
          if (Atomics.load(oneByOne, 0) !== 0) ways.refuse("AT-ONCE");
          if (tls !== "off" || file !== undefined || !ways.can("AT-ONCE")) return undefined;
          const { user, password } = await loginOf(location, credentials, process.env);
          // The lane's connections come on top of these, also where files that this thread reads end later.
          pool.keepIdle(1);
          const data: LaneData = {
            target: {
              host: location.host.replace(/^\[|\]$/g, ""),
              port: location.port ?? PORTS[tls],
              user: checkArgument(bytesOf(user)),
              password: checkArgument(bytesOf(password)),
              extended: ways.can("EPSV"),
              utf8: ways.can("UTF8"),
            },
            root,
            times: ways.can("MDTM"),
            oneByOne,
          };
          return {
            module: new URL(`./ftp-lane${extname(import.meta.url)}`, import.meta.url),
            data,
          };
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
