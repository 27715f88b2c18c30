/** Directories of a share as entries. */
import {
  makePause,
  type Entry,
  quotePath,
  type Scope,
  type SourceContext,
  SourceError,
} from "@pannier/core/adapter";
import {
  type DirectoryItem,
  failedItem,
  fingerprintOf,
  MOST_NAMES,
  timeOf,
  walk,
} from "@pannier/file-server";
import { encodePath } from "./address.ts";
import { isMissing, isNoDirectory, translate } from "./errors.ts";
import type { Pool } from "./pool.ts";
import type { NamedFacts } from "./protocol.ts";

/** Directories at once, over all helpers. */
const CONCURRENCY = 8;

export interface Listing {
  readonly pool: Pool;
  /** Below the share, without a `/` at the end. */
  readonly root: string;
  readonly signal: AbortSignal;
  readonly request: (operation: string) => void;
  readonly retry: SourceContext["retry"];
  readonly scope: Scope | undefined;
  /** Told of each name that stands for another; also twice. */
  readonly onShortName: (path: string) => void;
}

/** As Samba makes them up for names that SMB does not allow (a colon, a dot at the end): `A4WTMA~A.TXT`. */
const SHORT_NAME = /^[A-Z0-9_]{6}~[A-Z0-9](?:\.[A-Z0-9_]{1,3})?$/;

export function listTree(listing: Listing): AsyncGenerator<readonly Entry[]> {
  const { signal, scope } = listing;
  return walk({
    read: (prefix, inner) => listing.retry(() => readDirectory(listing, prefix, inner), inner),
    concurrency: CONCURRENCY,
    signal,
    scope,
  });
}

async function readDirectory(
  { pool, root, request, scope, onShortName }: Listing,
  prefix: string,
  signal: AbortSignal,
): Promise<readonly DirectoryItem[] | undefined> {
  const path = encodePath(`${root}/${prefix}`.replace(/\/$/, ""));
  request("list");
  const now = Date.now();
  try {
    const { bytes } = await pool.use(signal, (helper) =>
      helper.ask({ op: "list", path, most: MOST_NAMES }, signal),
    );
    const items: DirectoryItem[] = [];
    const pause = makePause();
    for (let from = 0; from < bytes.length;) {
      const end = bytes.indexOf("\n", from);
      const line = bytes.toString("utf8", from, end === -1 ? bytes.length : end);
      const item = toItem(JSON.parse(line) as NamedFacts, prefix, now);
      if (SHORT_NAME.test(item.name) && isWanted(scope, item, prefix))
        onShortName(prefix + item.name);
      items.push(item);
      from = end === -1 ? bytes.length : end + 1;
      if (items.length % 100 === 0) await pause();
    }
    return items;
  } catch (error) {
    if (prefix !== "" && isMissing(error)) return undefined;
    if (prefix !== "" && isNoDirectory(error)) {
      throw new SourceError("changed", `${quotePath(prefix)} was replaced while it was listed`);
    }
    throw translate(error, prefix);
  }
}

function toItem(found: NamedFacts, prefix: string, now: number): DirectoryItem {
  const { name, kind, size } = found;
  checkName(name, prefix + name);
  const failure = nameFailure(name, prefix + name);
  if (kind === "directory") return { kind, name, failure };
  if (failure !== undefined) return failedItem(name, failure);
  const fingerprint = fingerprintOf(found, now);
  const facts = { kind: "file", size, mtime: timeOf(found), fingerprint } as const;
  return { kind: "entry", name, entry: (path) => ({ ...facts, path }) };
}

function checkName(name: string, path: string): void {
  // Separates names as well, on this protocol.
  if (name.includes("\\")) {
    throw new SourceError("invalid", `the server lists an invalid name: ${quotePath(path)}`);
  }
}

/** What is in the place of half a character of UTF-16, which names may hold: it could not be asked for. */
function nameFailure(name: string, path: string): SourceError | undefined {
  if (!name.includes("\ufffd")) return undefined;
  return new SourceError("invalid", `the name of ${quotePath(path)} is not Unicode`, {
    hint: "rename it, or exclude it",
  });
}

function isWanted(
  scope: Scope | undefined,
  { kind, name }: DirectoryItem,
  prefix: string,
): boolean {
  const path = prefix + name;
  return (kind === "directory" ? scope?.enters(path) : scope?.wants(path)) !== false;
}
