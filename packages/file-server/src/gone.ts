/** What a server listed, and then said does not exist. */
import { quotePath, SourceError } from "@pannier/core/adapter";
import type { Directory } from "./directory.ts";
import type { DirectoryItem } from "./directory-item.ts";
import type { Item } from "./wanted.ts";
import { MOST_NAMES, tooManyNames, weightOf } from "./walk-limits.ts";

/** As `Walk.read`, until the walk ends. */
export type ReadItems = (
  prefix: string,
  count: (names: number, characters: number) => void,
) => Promise<readonly DirectoryItem[] | undefined>;

/**
 * A server says of all that it cannot reach that it does not exist, be it one directory that was deleted or the disk with all
 * of them. So the directory above has to be there, and to have something else: what is missing from a listing is deleted.
 */
export async function checkGone(
  { parent, name, prefix }: Directory,
  read: ReadItems,
): Promise<void> {
  if (parent === undefined) throw new SourceError("not-found", "the root does not exist");
  if (parent.laterNames === undefined || parent.laterNames.has(name)) {
    const laterNames = await namesNow(parent, read);
    if (laterNames === undefined) return checkGone(parent, read);
    parent.laterNames = laterNames;
  }
  const { laterNames } = parent;
  if (laterNames.has(name)) throw listedAndGone(prefix);
  if (parent.items.some((item) => laterNames.has(item.name))) return;
  throw new SourceError("changed", `${quotePath(prefix)} disappeared with all that was beside it`);
}

/** @returns `undefined` where the directory does not exist any more */
async function namesNow(
  { prefix }: Directory,
  read: ReadItems,
): Promise<ReadonlySet<string> | undefined> {
  let seen = 0;
  const items = await read(prefix, (names, characters) => {
    seen += weightOf(names, characters);
    if (seen > MOST_NAMES) throw tooManyNames(prefix);
  });
  return items && new Set(items.map((item) => item.name));
}

/** What is missing from a listing is deleted: only what the directory itself no longer has is left out. */
export async function withoutGone(
  directory: Directory,
  items: readonly Item[],
  read: ReadItems,
): Promise<readonly Item[]> {
  const gone = items.find(({ kind }) => kind === "gone");
  if (gone === undefined) return items;
  const laterNames = await namesNow(directory, read);
  if (laterNames === undefined) {
    await checkGone(directory, read);
    return [];
  }
  directory.laterNames = laterNames;
  const listed = items.find(({ kind, name }) => kind === "gone" && laterNames.has(name));
  if (listed !== undefined) throw listedAndGone(directory.prefix + listed.name);
  return items.filter(({ kind }) => kind !== "gone");
}

function listedAndGone(path: string): SourceError {
  return new SourceError(
    "changed",
    `the server lists ${quotePath(path)}, and says that it does not exist`,
    { hint: "exclude it if that stays so" },
  );
}
