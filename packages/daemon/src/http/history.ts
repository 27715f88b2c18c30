/** The revisions of a mount with what each changed, and the attempts that published nothing, as `/history` tells them. */
import { type HistoryEntry, recentChanges } from "@pannier/core";
import type { Attempt } from "../attempts.ts";
import type { Mount } from "../mount.ts";
import type { Reply } from "./reply.ts";

/** Revisions shown at most, and paths of each. */
const REVISIONS = 50;
const PATHS = 100;
/** Characters of paths that are kept of a mount, as JSON; where they are long, older revisions are shown without theirs. */
const KEPT = 1 << 18;

/** What a revision changed never changes: the state is asked only for those that are new. */
interface Known {
  /** The newest revision that the state was asked for. */
  newest: { readonly id: number; readonly time: number };
  /** JSON of what each changed, by its id. */
  readonly changes: Map<number, string>;
  /** The reading under way: callers that come meanwhile wait for the same one. */
  reading: Promise<void> | undefined;
}

const NONE = { id: 0, time: 0 };

export interface Histories {
  /** The revisions of a mount, the newest first, each with what it changed, as far as the state tells. */
  of(mount: Mount): Promise<Reply>;
}

export function createHistories(): Histories {
  const known = new WeakMap<Mount, Known>();

  return {
    async of(mount) {
      const mine = known.get(mount) ?? { newest: NONE, changes: new Map(), reading: undefined };
      known.set(mount, mine);
      const { history } = mount.state;
      const { id, time } = mine.newest;
      if (
        mine.reading === undefined &&
        !history.some((one) => one.id === id && one.time === time)
      ) {
        // The state was rebuilt, and counts from zero.
        mine.newest = NONE;
        mine.changes.clear();
      }
      if ((history[0]?.id ?? 0) > mine.newest.id)
        await (mine.reading ??= read(mount, mine).finally(() => {
          mine.reading = undefined;
        }));
      const entries = mount.state.history.slice(0, REVISIONS).map((entry) => {
        const told = JSON.stringify(describe(entry));
        return `${told.slice(0, -1)},"changes":${mine.changes.get(entry.id) ?? "[]"}}`;
      });
      const attempts = mount.state.attempts.map((one) => describeAttempt(one, mount));
      const body = `{"history":[${entries.join(",")}],"attempts":${JSON.stringify(attempts)}}\n`;
      return { status: 200, body };
    },
  };
}

async function read({ config, state }: Mount, known: Known): Promise<void> {
  const newest = state.history[0] ?? NONE;
  const { target } = config.options;
  const limits = { entries: REVISIONS, paths: PATHS, after: known.newest.id };
  for (const [id, changes] of await recentChanges(target, limits))
    known.changes.set(id, JSON.stringify(changes));
  known.newest = { id: newest.id, time: newest.time };
  let kept = 0;
  const ids = [...known.changes.keys()].toSorted((a, b) => b - a);
  for (const [index, id] of ids.entries()) {
    kept += known.changes.get(id)?.length ?? 0;
    if (index >= REVISIONS || kept > KEPT) known.changes.delete(id);
  }
}

function describeAttempt(
  { kind, first, last, count, failure }: Attempt,
  { config }: Mount,
): Record<string, unknown> {
  const hide = (text: string | undefined) => text?.replaceAll(config.options.target, "TARGET");
  return {
    kind,
    firstAt: new Date(first.wall).toISOString(),
    lastAt: new Date(last.wall).toISOString(),
    count,
    code: failure?.code,
    message: hide(failure?.message),
    hint: hide(failure?.hint),
    source: failure?.source,
  };
}

function describe(entry: HistoryEntry): Record<string, unknown> {
  const { id, revision, added, changed, deleted, files, bytes, published, path, sources } = entry;
  const signatures = sources.map(({ signature }) => signature ?? null);
  return {
    id,
    revision,
    publishedAt: new Date(entry.time).toISOString(),
    added,
    changed,
    deleted,
    files,
    bytes,
    published,
    kept: path !== undefined,
    // By position of the source; nothing where nobody had to sign.
    ...(signatures.some((signature) => signature !== null) ? { signatures } : {}),
  };
}
