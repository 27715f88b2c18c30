/** Directories of an NFS server as entries. */
import type { Entry, SourceContext } from "@pannier/core";
import { checkUnicode, type DirectoryItem, fingerprintOf, timeOf, walk } from "@pannier/walk";
import { type Connection, CONNECTIONS, Unanswered } from "./connection.ts";
import { translate } from "./errors.ts";
import type { Item } from "./protocol.ts";

export interface Listing {
  readonly connection: Connection;
  readonly signal: AbortSignal;
  readonly request: (operation: string) => void;
  readonly retry: SourceContext["retry"];
  /** Told of each FIFO, socket and device, which are left out; also twice. */
  readonly onSpecial: (path: string) => void;
}

export function listTree(listing: Listing): AsyncGenerator<readonly Entry[]> {
  const { signal, retry } = listing;
  return walk({
    read: (prefix, inner) => retry(() => readDirectory(listing, prefix, inner), inner),
    concurrency: CONNECTIONS,
    signal,
  });
}

const ENOENT = 2;

async function readDirectory(
  { connection, request, onSpecial }: Listing,
  prefix: string,
  signal: AbortSignal,
): Promise<readonly DirectoryItem[] | undefined> {
  request("list");
  const now = Date.now();
  const path = prefix.replace(/\/$/, "");
  try {
    const { items } = await connection.ask({ ask: "list", path }, signal);
    return items
      .map((item) => toDirectoryItem(item, prefix, now, onSpecial))
      .filter((item) => item !== undefined);
  } catch (error) {
    if (!(error instanceof Unanswered)) throw error;
    if (prefix !== "" && error.problem.step === "call" && error.problem.errno === ENOENT) return;
    throw translate(error.problem, prefix);
  }
}

function toDirectoryItem(
  item: Item,
  prefix: string,
  now: number,
  onSpecial: (path: string) => void,
): DirectoryItem | undefined {
  const { name, kind, size, target } = item;
  const relative = prefix + name;
  checkUnicode(name, relative);
  const mtime = timeOf(item);
  if (kind === "directory") return { kind, name };
  if (kind === "file") {
    const fingerprint = fingerprintOf(item, now);
    const facts = { kind, size, mode: item.mode & 0o777, mtime, fingerprint } as const;
    return { kind: "entry", name, entry: (path) => ({ ...facts, path }) };
  }
  if (kind === "symlink" && target !== undefined) {
    checkUnicode(target, relative);
    return { kind: "entry", name, entry: (path) => ({ kind, path, target, mtime }) };
  }
  onSpecial(relative);
  return undefined;
}
