/** What changed since the last listing, from what the watches told: as a listing at that moment would have it. */
import type { Change, Delta, FileEntry, Published, Scope as Wanted } from "@pannier/core/adapter";
import type { Scope } from "./api.ts";
import type { Journal, Told } from "./journal.ts";
import type { Listed } from "./list.ts";
import { parseToken, tokenOf } from "./probe.ts";

export interface Telling {
  readonly scopes: readonly Scope[];
  readonly journals: ReadonlyMap<Scope, Journal>;
  readonly listed: Listed;
  /** Of a source of one object. */
  readonly name: string | undefined;
}

/**
 * @param from token of what is published, which this process has listed or told last: so it is known how the journals go on from it
 * @returns `undefined` where only a listing is sure
 */
export async function changesBetween(
  { scopes, journals, listed, name }: Telling,
  from: string,
  to: string,
  wanted: Wanted | undefined,
  published: Published | undefined,
): Promise<Delta | undefined> {
  const versions = parseToken(from, scopes);
  const asked = parseToken(to, scopes);
  const isListed = scopes.every((scope, index) => listed.versions.get(scope) === versions?.[index]);
  if (versions === undefined || asked === undefined || published === undefined) return undefined;
  if (!isListed || listed.ignores) return undefined;

  const objects = new Map<string, Told>();
  const until = new Map<Scope, string>();
  for (const [index, scope] of scopes.entries()) {
    const [since, least] = [versions[index] as string, asked[index] as string];
    const told = journals.get(scope)?.changes(since, least, listed.eras.get(scope));
    if (told === undefined) return undefined;
    for (const [id, one] of told.objects) objects.set(id, one);
    until.set(scope, told.until);
  }
  // The listing says that it is not there.
  if (name !== undefined && [...objects.values()].some(({ deleted }) => deleted)) return undefined;

  const entries = unambiguous(objects, wanted, published);
  if (entries === undefined) return undefined;
  const before = await published.pathsOf(new Set(objects.keys()));
  const gone = before.filter((path) => !entries.has(path));
  return {
    changes: batches(),
    token: () =>
      tokenOf(
        scopes,
        scopes.map((scope) => until.get(scope) as string),
      ),
  };

  function* batches(): Generator<readonly Change[]> {
    yield gone.map((path) => ({ kind: "delete", path }));
    yield Array.from(entries?.values() ?? [], (entry) => ({ kind: "put", entry }));
    for (const [scope, version] of until) listed.versions.set(scope, version);
  }
}

/** The wanted entries of objects by their path; `undefined` where two objects have one path: the listing says which. */
function unambiguous(
  objects: ReadonlyMap<string, Told>,
  wanted: Wanted | undefined,
  published: Published,
): ReadonlyMap<string, FileEntry> | undefined {
  const entries = new Map<string, FileEntry>();
  for (const [id, told] of objects) {
    for (const entry of told.entries()) {
      const { path } = entry;
      if (wanted?.wants(path) === false) continue;
      const owner = published.ref(path);
      const isOthers = owner !== undefined && owner !== id && !objects.has(owner);
      if (isOthers || entries.has(path)) return undefined;
      entries.set(path, entry);
    }
  }
  return entries;
}
