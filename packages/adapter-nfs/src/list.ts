/** Directories of an NFS server as entries. */
import { type Entry, makePause, type Scope, type SourceContext } from "@pannier/core/adapter";
import {
  type DirectoryItem,
  failedItem,
  fingerprintOf,
  MOST_NAMES,
  timeOf,
  unicodeProblem,
  walk,
} from "@pannier/file-server";
import { type Connection, CONNECTIONS, Unanswered } from "./connection.ts";
import { translate } from "./errors.ts";
import type { Item } from "./protocol.ts";

export interface Listing {
  readonly connection: Connection;
  readonly signal: AbortSignal;
  readonly request: (operation: string) => void;
  readonly retry: SourceContext["retry"];
  readonly scope: Scope | undefined;
  /** Told of each FIFO, socket and device, which are left out. */
  readonly onSpecial: (path: string) => void;
}

export function listTree(listing: Listing): AsyncGenerator<readonly Entry[]> {
  const { signal, retry, scope, onSpecial } = listing;
  return walk({
    read: (prefix, inner) => retry(() => readDirectory(listing, prefix, inner), inner),
    concurrency: CONNECTIONS,
    signal,
    scope,
    onSpecial,
  });
}

const ENOENT = 2;

async function readDirectory(
  { connection, request }: Listing,
  prefix: string,
  signal: AbortSignal,
): Promise<readonly DirectoryItem[] | undefined> {
  request("list");
  const now = Date.now();
  const path = prefix.replace(/\/$/, "");
  try {
    const answer = await connection.ask({ ask: "list", path, most: MOST_NAMES }, signal);
    const items: DirectoryItem[] = [];
    const pause = makePause();
    for (const item of answer.items) {
      items.push(toDirectoryItem(item, prefix, now));
      if (items.length % 100 === 0) await pause();
    }
    return items;
  } catch (error) {
    if (!(error instanceof Unanswered)) throw error;
    if (prefix !== "" && error.problem.step === "call" && error.problem.errno === ENOENT) return;
    throw translate(error.problem, prefix);
  }
}

function toDirectoryItem(item: Item, prefix: string, now: number): DirectoryItem {
  const { name } = item;
  if (item.kind === "gone") return { name, kind: item.kind };
  const { kind, size, target } = item;
  const relative = prefix + name;
  const failure = unicodeProblem(name, relative);
  const mtime = timeOf(item);
  switch (kind) {
    case "directory":
      return { kind, name, failure };
    case "special":
      return { kind, name };
    case "file": {
      if (failure !== undefined) return failedItem(name, failure);
      const fingerprint = fingerprintOf(item, now);
      const facts = { kind, size, mode: item.mode & 0o777, mtime, fingerprint } as const;
      return { kind: "entry", name, entry: (path) => ({ ...facts, path }) };
    }
    case "symlink": {
      // The helper reads each symlink's target, and fails where it cannot.
      const to = target ?? "";
      const broken = failure ?? unicodeProblem(to, relative);
      if (broken !== undefined) return failedItem(name, broken);
      return { kind: "entry", name, entry: (path) => ({ kind, path, target: to, mtime }) };
    }
  }
}
