/** From a plan to a published tree: a tree beside the published one and one rename, or file by file in a mirror. */
import { join } from "node:path";
import { openFetcher } from "./fetching.ts";
import { askHook } from "./hook.ts";
import { lockPlanned } from "./lock.ts";
import type { Run } from "./run.ts";
import { guardSize, isQuiet } from "../snapshot/guard.ts";
import { makePause } from "../timing/slices.ts";
import { revisionFound } from "../snapshot/revision.ts";
import { prepareCandidate, keepCandidate } from "../volume/candidate.ts";
import { planTotals } from "../state/plan-totals.ts";
import { HOME } from "../volume/layout.ts";
import { publishMirror } from "../volume/mirror.ts";
import { stageMirror } from "../volume/mirror-staging.ts";
import { openPublishedTree, publishCandidate } from "../volume/publish.ts";
import { removeTree } from "../volume/remove.ts";
import { checkRecycled, checkStaged, stage } from "../volume/stage.ts";
import type { Generation } from "../state/generations.ts";
import { openTree } from "../volume/tree.ts";
import type { Next } from "./make-plan.ts";

interface Outcome {
  readonly generation: Generation;
  readonly foreign: readonly string[];
}

/** A complete tree beside the published one, then one rename. `undefined`: there was nothing new after all. */
export async function swap(run: Run, next: Next): Promise<Outcome | undefined> {
  const { mount } = run;
  const { settings, volume } = mount;
  const pause = makePause(run.signal);
  const candidate = await prepareCandidate(volume, settings.tree, pause);
  const published = openPublishedTree(volume, next.published, settings.tree);
  let lock: Awaited<ReturnType<typeof lockPlanned>> | undefined;
  try {
    const job = {
      volume,
      candidate,
      published,
      origins: mount.layers.map(({ identity }) => identity),
      fetcher: openFetcher(run, next.totals),
      owner: settings.tree.owner,
      signal: run.signal,
    };
    await stage(job);
    await checkRecycled(job);
    const totals = await planTotals(volume.state, next.published, pause);
    guardSize(totals, settings.limits);
    if (next.published !== undefined && next.damage === undefined && isQuiet(totals)) {
      await checkStaged(job);
      await keepCandidate(volume, candidate, next.published.id, pause);
      return undefined;
    }
    const revision = revisionFound(volume.state, next.revision);
    lock = await lockPlanned(run, next);
    if (settings.prePublish !== undefined) {
      run.step("hook");
      const shown = join(volume.layout.target, HOME, candidate.name);
      await askHook(run, settings.prePublish, shown, { ...next, revision });
    }
    run.step("publish");
    await checkStaged(job);
    run.signal.throwIfAborted();
    const record = { ...next, ...totals, revision };
    const generation = await publishCandidate(volume, candidate, record, pause);
    lock.keep();
    return { generation, foreign: [] };
  } finally {
    lock?.drop();
    published?.close();
    candidate.tree.close();
  }
}

/** Files straight into the target, each by a rename. `undefined`: there was nothing new after all. */
export async function mirror(run: Run, next: Next): Promise<Outcome | undefined> {
  const { settings, volume } = run.mount;
  const pause = makePause(run.signal);
  const tree = openTree(volume.layout.root, settings.tree);
  let staging: string | undefined;
  let lock: Awaited<ReturnType<typeof lockPlanned>> | undefined;
  try {
    staging = await stageMirror(
      volume,
      tree,
      openFetcher(run, next.totals),
      settings.tree.owner,
      run.signal,
    );
    const totals = await planTotals(volume.state, next.published, pause);
    guardSize(totals, settings.limits);
    if (next.published !== undefined && isQuiet(totals)) return undefined;
    run.signal.throwIfAborted();
    lock = await lockPlanned(run, next);
    run.step("publish");
    const decided = staging;
    staging = undefined;
    const revision = revisionFound(volume.state, next.revision);
    const record = { ...next, ...totals, revision };
    const outcome = await publishMirror(volume, decided, record, settings.tree);
    lock.keep();
    return outcome;
  } finally {
    lock?.drop();
    tree.close();
    if (staging !== undefined) await removeTree(join(volume.layout.home, staging), makePause());
  }
}
