/** Between syncs: building the tree that the next change goes into, so that even the first change costs only what it changes. */
import type { Mount } from "../mount/mount.ts";
import {
  type Candidate,
  giveBackRoom,
  prepareCandidate,
  readCandidate,
  keepCandidate,
} from "../volume/candidate.ts";
import { makePause } from "../timing/slices.ts";
import { clearPlan } from "../state/plan.ts";
import { openPublishedTree } from "../volume/publish.ts";
import { checkStaged, stage } from "../volume/stage.ts";
import { latestGeneration } from "../state/generations.ts";

const refuse = () => Promise.reject(new Error("the published tree lacks a file"));

/**
 * Links a second tree together where there is none to recycle yet. Gives up, with no harm done, when aborted, when the volume is full, or when the
 * published tree is not as it was left: the next sync sees to that.
 */
export async function buildAhead(mount: Mount, signal: AbortSignal): Promise<void> {
  try {
    await build(mount, signal);
  } catch {
    // What an abort leaves half done, the next sync goes on with.
    if (!signal.aborted) await giveBackRoom(mount.volume);
  }
}

async function build({ volume, settings }: Mount, signal: AbortSignal): Promise<void> {
  const published = latestGeneration(volume.state);
  if (
    volume.publish !== "swap" ||
    published === undefined ||
    readCandidate(volume.state) !== undefined
  )
    return;
  const tree = openPublishedTree(volume, published, settings.tree);
  if (tree === undefined) return;
  const pause = makePause(signal);
  let candidate: Candidate | undefined;
  try {
    await clearPlan(volume.state, pause);
    candidate = await prepareCandidate(volume, settings.tree, pause);
    const fetcher = {
      async fetchAll(jobs: AsyncIterable<unknown> | Iterable<unknown>) {
        for await (const _ of jobs) await refuse();
      },
    };
    const owner = settings.tree.owner;
    const job = { volume, candidate, published: tree, origins: [], fetcher, owner, signal };
    await stage(job);
    await checkStaged(job);
    await keepCandidate(volume, candidate, published.id, pause);
  } finally {
    candidate?.tree.close();
    tree.close();
  }
}
