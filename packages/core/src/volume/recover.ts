/** The end of whatever a killed process had begun, and what a restart of the machine makes doubtful. */
import { existsSync, lstatSync, readFileSync, readlinkSync } from "node:fs";
import { join } from "node:path";
import { TargetError } from "../errors.ts";
import { DamagedState } from "../state/damaged.ts";
import { latestGeneration } from "../state/generations.ts";
import { getMeta, setMeta } from "../state/meta.ts";
import { type State, STATE_SUFFIXES } from "../state/state.ts";
import { discardCandidate, findCandidate, readCandidate } from "./candidate.ts";
import { sweep, sweepTrees } from "./collect.ts";
import { distrustPublished } from "./damage.ts";
import { HOME } from "./layout.ts";
import { mirrorStaging } from "./mirror.ts";
import { finishPublish } from "./publish.ts";
import type { Volume } from "./volume.ts";

export function checkPublishMode(volume: Volume): void {
  const before = getMeta(volume.state, "publish");
  if (before !== undefined && before !== "swap" && before !== "mirror")
    throw new DamagedState(`it was filled with --publish ${before}`);
  if (
    before !== undefined &&
    before !== volume.publish &&
    latestGeneration(volume.state) !== undefined
  ) {
    throw new TargetError(
      `the target ${volume.layout.target} was filled with --publish ${before}`,
      { hint: `go on with --publish ${before}, or choose an empty target` },
    );
  }
  setMeta(volume.state, "publish", volume.publish);
  if (volume.publish === "mirror") return;
  const link = join(volume.layout.root, volume.link);
  const stats = lstatSync(link, { throwIfNoEntry: false });
  if (stats === undefined) return;
  if (!stats.isSymbolicLink() || !readlinkSync(link).startsWith(`${HOME}/generations/`)) {
    const name = join(volume.layout.target, volume.link);
    throw new TargetError(`${name} is there already and is not a link of Pannier's`, {
      hint: "move it away, or name another link with --link",
    });
  }
}

/** Of this run of the machine; `undefined` where the system does not tell. */
function bootId(): string | undefined {
  const file = "/proc/sys/kernel/random/boot_id";
  return existsSync(file) ? readFileSync(file, "utf8").trim() : undefined;
}

/**
 * After a restart of the machine, what is on the volume may not be what was written. Kept until the published tree has been looked
 * at, see damage.ts; what is not published yet is given up.
 */
export function noticeRestart(state: State): boolean {
  const before = getMeta(state, "boot");
  const restarted = before !== undefined && before !== bootId();
  if (restarted) distrustPublished(state, "since a restart");
  return restarted;
}

/** Finishes or discards what was half done, and removes what nobody knows. */
export async function recover(volume: Volume, restarted: boolean): Promise<void> {
  const { state, layout } = volume;
  await finishPublish(volume);
  if (restarted) await discardCandidate(volume);
  await findCandidate(volume);
  await sweep(
    layout.home,
    new Set([
      "generations",
      "scratch",
      "lock",
      // What the sidecar remembers of its hooks.
      "hooks.json",
      ...STATE_SUFFIXES.map((suffix) => `state.db${suffix}`),
      readCandidate(state)?.name ?? "",
      mirrorStaging(state) ?? "",
    ]),
  );
  await sweepTrees(volume);
  setMeta(state, "boot", bootId());
}
