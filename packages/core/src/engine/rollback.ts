/** Going back to a revision that is kept. */
import { join } from "node:path";
import { RefusedError, TargetError } from "../errors.ts";
import type { SyncEvent } from "../events.ts";
import {
  type HistoryEntry,
  nothingPublished,
  readTarget,
  status,
  toHistory,
  unreadable,
} from "./history.ts";
import type { SyncOptions } from "../mount/sync-options.ts";
import { UsageError } from "../source/errors.ts";
import { withTimeout } from "../mount/sync-timeout.ts";
import { lookAtSources } from "./look.ts";
import { pathsChangedSince, publishedRows, rowsAt, shown } from "../state/entries.ts";
import { clearPlan, planRow } from "../state/plan.ts";
import {
  type Held,
  rollbackHold,
  setRollbackHold,
  isSameState,
  type SourcesState,
  urlsOf,
} from "../state/hold.ts";
import { asNoRoom } from "../volume/room.ts";
import { isOfDamage } from "../state/damaged.ts";
import { toTargetError } from "../volume/target-error.ts";
import { openVolume } from "../volume/open.ts";
import { finishPublish, openPublishedTree, recordGeneration } from "../volume/publish.ts";
import { forgetTree, type Generation, generations } from "../state/generations.ts";
import { longTransaction, type State } from "../state/state.ts";
import { makePause, type Pause } from "../timing/slices.ts";
import { READING } from "../volume/tree-settings.ts";
import { type TreeReport, verifyTree } from "../volume/verify.ts";
import type { Volume } from "../volume/volume.ts";

type RollbackMount = Omit<SyncOptions, "target" | "signal" | "onEvent" | "dryRun">;

/**
 * Makes a kept revision the published one again. The sources, as they are now, are held back until they change, whether what they hold
 * was seen before or not.
 *
 * @param revision a kept revision or the beginning of one; default: the one before the published one
 * @throws UsageError when it is not kept, RefusedError when its tree is not intact, TargetError as `sync` does
 */
export async function rollback(
  target: string,
  revision?: string,
  init: {
    readonly signal?: AbortSignal | undefined;
    readonly onEvent?: ((event: SyncEvent) => void) | undefined;
    /**
     * The mount's sources and settings, or what finds them once there is something to go back to: they are asked what they hold now, for five seconds at most; where they do not answer, what the
     * next sync finds is held back. Default: what they were last known to hold is held back.
     */
    readonly mount?: RollbackMount | (() => Promise<RollbackMount | undefined>) | undefined;
  } = {},
): Promise<HistoryEntry> {
  const before = status(target);
  if (before === undefined) throw nothingPublished(target);
  if (before.publish === "mirror")
    throw new UsageError(
      "a mirrored target keeps no older trees to go back to",
      "use --publish swap",
    );
  // Before anybody is asked. Chosen again below, under the lock.
  chooseKept(readTarget(target, olderGenerations) ?? [], revision);
  const mount = typeof init.mount === "function" ? await init.mount() : init.mount;
  const asked = mount === undefined ? undefined : await ask(target, mount, init);
  const volume = await openVolume({
    target,
    publish: "swap",
    link: before.link,
    owner: mount?.owner,
    emit: (event) => init.onEvent?.(event),
  });
  try {
    const { state } = volume;
    const [latest, ...older] = generations(state);
    const wanted = chooseKept(older, revision);
    const tree = openPublishedTree(volume, wanted, READING);
    if (tree === undefined || latest === undefined)
      throw new UsageError(`the tree of revision ${wanted.revision} is gone`);
    let report: TreeReport;
    try {
      const signal = init.signal ?? new AbortController().signal;
      report = await verifyTree(state, tree, wanted.id, { alone: true }, signal, () => {});
    } finally {
      tree.close();
    }
    if (report.changed + report.missing + report.extra > 0) {
      throw new RefusedError(
        `the tree of revision ${wanted.revision} is not as it was published: ${report.changed} files changed, ${report.missing} missing, ${report.extra} added`,
        {
          hint: "repair it first with verify --repair, or choose another revision",
        },
      );
    }
    await goBack(volume, latest, wanted, asked, makePause(init.signal));
    volume.check();
    init.onEvent?.({
      type: "published",
      revision: wanted.revision,
      previousRevision: latest.revision,
      path: join(volume.layout.target, volume.link),
    });
    return toHistory(generations(state)[0] as Generation, true, volume.layout.target, "swap");
  } catch (error) {
    if (isOfDamage(error, volume.state)) throw unreadable(volume.layout, error);
    throw asNoRoom(error) ?? toTargetError(error, volume.layout.target);
  } finally {
    volume.close();
    volume.release();
  }
}

/** Milliseconds: whoever goes back is in a hurry. */
const PROBE_TIMEOUT_MS = 5000;

async function ask(
  target: string,
  mount: Omit<SyncOptions, "target">,
  { signal, onEvent }: Pick<SyncOptions, "signal" | "onEvent">,
): Promise<Held> {
  const deadline = withTimeout(signal, PROBE_TIMEOUT_MS);
  try {
    return await lookAtSources({ ...mount, target, signal: deadline.signal });
  } catch (error) {
    signal?.throwIfAborted();
    // There will be no rollback either.
    if (error instanceof TargetError && error.busy) throw error;
    onEvent?.({
      type: "warning",
      message: `what the sources hold now is not known (${(error as Error).message}): what the next sync finds is held back`,
    });
    return "next";
  } finally {
    deadline.end();
  }
}

const olderGenerations = (state: State) => generations(state).slice(1);

function chooseKept(older: readonly Generation[], revision: string | undefined): Generation {
  const kept = older.filter(({ tree }) => tree !== null);
  const named = kept.filter(({ tree }) => tree === revision);
  const matching =
    named.length > 0
      ? named
      : revision === undefined
        ? kept.slice(0, 1)
        : kept.filter((generation) => generation.revision.startsWith(revision));
  const [wanted] = matching;
  const names = kept.map(({ tree }) => tree).join(", ") || "none";
  if (wanted === undefined)
    throw new UsageError(
      revision === undefined ? "no older revision is kept" : `revision ${revision} is not kept`,
      `kept besides the published one: ${names}`,
    );
  if (new Set(matching.map((generation) => generation.revision)).size > 1)
    throw new UsageError(`more than one kept revision begins with ${revision}`, `kept: ${names}`);
  return wanted;
}

function stateOf({ layers, digest }: Generation): SourcesState {
  return {
    urls: urlsOf(layers),
    tokens: layers.map(({ token }) => token),
    settings: layers.map(({ settings }) => (settings === undefined ? [] : [settings])),
    digest,
  };
}

/** A new generation with the rows and the tree of an older one. */
async function goBack(
  volume: Volume,
  latest: Generation,
  wanted: Generation,
  asked: Held | undefined,
  pause: Pause,
): Promise<void> {
  const { state } = volume;
  await longTransaction(state, async () => {
    await clearPlan(state, pause);
    const rowsThen = rowsAt(state, wanted.id);
    const rowsNow = publishedRows(state);
    const totals = { added: 0, changed: 0, deleted: 0 };
    for await (const path of pathsChangedSince(state, wanted.id, pause)) {
      const then = rowsThen(path);
      const now = rowsNow(path);
      const [shownThen, shownNow] = [shown(then[0]), shown(now[0])];
      const isSame = shownThen?.layer === shownNow?.layer && shownThen?.since === shownNow?.since;
      const change = isSame ? null : shownThen ? (shownNow ? "changed" : "added") : "deleted";
      if (change !== null) totals[change]++;
      const gone = now.filter((row) => !then.some(({ layer }) => layer === row.layer));
      const winner = (then[0] ?? gone[0])?.layer;
      for (const [action, rows] of [
        ["put", then],
        ["remove", gone],
      ] as const) {
        for (const row of rows) {
          const effective = row.layer === winner;
          planRow(state, row, {
            action,
            effective,
            change: effective ? change : null,
            content: "fetch",
          });
        }
      }
    }
    forgetTree(state, wanted.id);
    const { revision, files, bytes, digest, layers } = wanted;
    await recordGeneration(
      state,
      {
        revision,
        files,
        bytes,
        digest,
        layers,
        ...totals,
      },
      { tree: wanted.tree, slot: wanted.slot },
      pause,
    );
    // Where nobody asked, a second step back still holds back what the first one did.
    const back = asked ?? rollbackHold(state) ?? stateOf(latest);
    const isWanted = back !== "next" && isSameState(back, stateOf(wanted));
    setRollbackHold(state, isWanted ? undefined : back);
  });
  await finishPublish(volume);
}
