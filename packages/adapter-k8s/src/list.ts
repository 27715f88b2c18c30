/** Lists the objects, as entries. */
import { type Entry, IGNORE_FILE, quotePath, SourceError } from "@pannier/core/adapter";
import { type Api, isOlder, type Scope } from "./api.ts";
import { entriesOf, type KubeObject, type Layout } from "./objects.ts";

/** Entries that are passed on in one go. */
const BATCH = 500;

export interface Lister {
  readonly api: Api;
  readonly scopes: readonly Scope[];
  readonly layout: Layout;
  /** Of a source of one object. */
  readonly name: string | undefined;
  readonly listed: Listed;
  /** The era of a scope's journal. */
  readonly era: (scope: Scope) => number | undefined;
  /** Called with each object that changed since the last listing, for it will be read. */
  readonly keep: (object: KubeObject) => Promise<void>;
}

/** The last whole listing, and what was told after it. */
export interface Listed {
  /** By scope: its resourceVersion, or that until which its changes were told. */
  readonly versions: Map<Scope, string>;
  /** By scope: the era of its journal when the listing was begun. */
  readonly eras: Map<Scope, number | undefined>;
  /** Whether the server was asked for anything yet, by a probe or a listing. */
  asked: boolean;
  /** Whether an object has a `.pannierignore`. */
  ignores: boolean;
  /** When it was over, or the source opened. As of `performance.now()`. */
  at: number;
}

/** @param versions takes the resourceVersion of each scope, when it has been listed */
export async function* listEntries(
  { api, scopes, layout, name, listed, era, keep }: Lister,
  versions: Map<Scope, string>,
  signal: AbortSignal,
): AsyncGenerator<readonly Entry[]> {
  let batch: Entry[] = [];
  let found = 0;
  let ignores = false;
  const eras = new Map<Scope, number | undefined>();
  for (const scope of scopes) {
    eras.set(scope, era(scope));
    const before = listed.versions.get(scope);
    const objects = api.list(scope, signal);
    for (;;) {
      const next = await objects.next();
      if (next.done === true) {
        versions.set(scope, next.value);
        break;
      }
      const object = next.value;
      found++;
      const entries = entriesOf(object, layout);
      ignores ||= entries.some(({ path }) => path === IGNORE_FILE);
      batch.push(...entries);
      if (before === undefined || isOlder(before, object.resourceVersion)) await keep(object);
      if (batch.length >= BATCH) {
        yield batch;
        batch = [];
      }
    }
  }
  if (name !== undefined && found === 0) {
    throw new SourceError(
      "not-found",
      `${layout.resource} ${scopes[0]?.namespace ?? ""}/${name}: not found`,
      { reached: "signed-in" },
    );
  }
  yield batch;
  for (const [scope, version] of versions) listed.versions.set(scope, version);
  for (const [scope, began] of eras) listed.eras.set(scope, began);
  listed.ignores = ignores;
  listed.at = performance.now();
}

/** Two objects have a file of one path. */
export function clash(first: Entry, second: Entry, { resource }: Layout): SourceError {
  const [one, other] = [first, second].map((entry) =>
    entry.kind === "file" ? (entry.ref ?? "") : "",
  );
  return new SourceError(
    "invalid",
    `${quotePath(first.path)} is in two ${resource}: ${one} and ${other}`,
    {
      hint: "give one of them a directory in its annotation pannier.dev/folder, or use the option layout=objects",
    },
  );
}
