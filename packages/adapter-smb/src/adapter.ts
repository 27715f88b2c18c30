/** The adapter: a directory of an SMB share, or one file of it, as a source. */
import { posix } from "node:path";
import type { Adapter, FileEntry, Scope, Source } from "@pannier/core/adapter";
import { fingerprintOf, leftOutWarning, timeOf, treeSource } from "@pannier/file-server";
import { checkableFiles } from "@pannier/signatures";
import { type Address, addressOf, encodePath } from "./address.ts";
import { connectionError, isMissing, translate } from "./errors.ts";
import type { Helper } from "./helper.ts";
import { listTree } from "./list.ts";
import { smbOptions } from "./options.ts";
import { createPool } from "./pool.ts";
import type { Connection, Facts } from "./protocol.ts";
import { readFile } from "./read.ts";
import { signIn, userOf } from "./sign-in.ts";

/** Names that one warning counts. */
const MOST_TOLD = 1000;

export const smbAdapter: Adapter<typeof smbOptions> = checkableFiles({
  name: "smb",
  package: "@pannier/adapter-smb",
  schemes: ["smb"],
  options: smbOptions,
  description: "a directory or file of an SMB share (Windows, Samba)",

  async open(location, { domain, encrypt, sign }, context): Promise<Source> {
    const { credentials, idleTimeout } = context;
    const address = addressOf(location);
    userOf(location, credentials, domain);
    const { env } = process;
    const pool = createPool({
      idleTimeout,
      env,
      connection: async () => ({
        share: address.url,
        encrypt,
        sign,
        ...(await signIn(location, credentials, { domain, sign }, env)),
      }),
      checkConnection: (helper, { by }, signal) => checkConnection(helper, address, by, signal),
    });
    const listShortNames = leftOutWarning(
      context.warn,
      "the server makes names up where SMB does not allow the real ones: rename those on the server",
    );

    const { request, retry } = context;
    async function* list(signal: AbortSignal, scope: Scope | undefined) {
      const found = new Set<string>();
      const onShortName = (name: string) => {
        if (found.size < MOST_TOLD) found.add(name);
      };
      yield* listTree({ pool, root: address.path, signal, request, retry, scope, onShortName });
      const told = listShortNames();
      found.forEach(told.add);
      told.tell();
    }

    return treeSource(
      {
        concurrency: 16,
        ranges: true,
        async look(signal) {
          request("stat");
          const now = Date.now();
          const path = encodePath(address.path);
          try {
            const { facts } = await pool.use(signal, (helper) =>
              helper.ask({ op: "stat", path }, signal),
            );
            return { file: facts.kind === "file" ? toFile(address.path, facts, now) : undefined };
          } catch (error) {
            throw translate(error, "");
          }
        },
        list: (_, signal, scope) => list(signal, scope),
        read({ file }, entry, range, signal) {
          request("read");
          const path = file === undefined ? `${address.path}/${entry.path}` : address.path;
          return readFile({ pool, path, entry, range, signal });
        },
        close: () => pool.close(),
      },
      context,
    );
  },
});

/** Makes the connection, so that what is wrong with it is told as such, and not as a matter of the path that was asked for first. */
async function checkConnection(
  helper: Helper,
  { host, share, path }: Address,
  by: Connection["by"],
  signal: AbortSignal,
): Promise<void> {
  try {
    await helper.ask({ op: "stat", path: encodePath(path) }, signal);
  } catch (error) {
    // Of a share that is not there and a path that is not there the same is told.
    const shareIsThere =
      isMissing(error) &&
      path !== "" &&
      (await helper.ask({ op: "stat", path: "" }, signal).then(
        () => true,
        () => false,
      ));
    throw shareIsThere ? translate(error, "") : await connectionError(error, { host, share, by });
  }
}

function toFile(path: string, facts: Facts, now: number): FileEntry {
  return {
    kind: "file",
    path: posix.basename(path),
    size: facts.size,
    mtime: timeOf(facts),
    fingerprint: fingerprintOf(facts, now),
  };
}
