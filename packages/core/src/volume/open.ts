/** Opening a target: checks, lock, state, and the end of whatever a killed process had begun. */
import { existsSync } from "node:fs";
import { join, resolve } from "node:path";
import type { SyncEvent } from "../events.ts";
import { isBroken, isOfDamage } from "../state/damaged.ts";
import { latestGeneration } from "../state/generations.ts";
import { openState, type State, STATE_SUFFIXES } from "../state/state.ts";
import { distrustPublished } from "./damage.ts";
import { HOME, type Layout, layoutOf } from "./layout.ts";
import { takeLock } from "./lock.ts";
import { holdPlace, type Place } from "./place.ts";
import { checkPublishMode, noticeRestart, recover } from "./recover.ts";
import { asNoRoom } from "./room.ts";
import { openingError, toTargetError } from "./target-error.ts";
import type { Volume } from "./volume.ts";
import { removeFile } from "./files.ts";

export interface VolumeSettings {
  readonly target: string;
  readonly publish: "swap" | "mirror";
  readonly link: string;
  /** Nothing that can be seen is to change: what was left half done stays so. Default false. */
  readonly dryRun?: boolean;
  /** Of everything written: what is there may be this user's too. */
  readonly owner?: { readonly uid: number } | undefined;
  readonly emit: (event: SyncEvent) => void;
}

/**
 * Opens a target for writing.
 *
 * @throws TargetError when it cannot be a target, or another process is at work on it
 */
export async function openVolume(settings: VolumeSettings): Promise<Volume> {
  const place = hold(resolve(settings.target), settings.owner);
  const { layout } = place;
  let free: (() => void) | undefined;
  let state: State | undefined;
  const close = () => {
    if (state !== undefined) closeState(state, layout, place);
    free?.();
  };
  try {
    // SQLite follows every link in a path itself, and opens what the names lead to: so these must be what they were just before and after.
    free = takeLock(layout.lock, layout.target);
    place.check();
    state = openOrReplaceState(layout, settings.emit);
    place.check();
    const volume: Volume = {
      layout,
      publish: settings.publish,
      link: settings.link,
      state,
      emit: settings.emit,
      isInPlace: place.isInPlace,
      check: place.check,
      close,
      release: place.release,
    };
    await bringInLine(volume, settings.dryRun === true);
    if (place.isNew && latestGeneration(state) !== undefined) distrustPublished(state);
    return volume;
  } catch (error) {
    close();
    place.release();
    throw asNoRoom(error) ?? toTargetError(error, layout.target);
  }
}

/** Finishes what was begun, and ends what cannot be finished. A state that turns out to be damaged is recreated. */
async function bringInLine(volume: Volume, dryRun: boolean): Promise<void> {
  const work = async () => {
    checkPublishMode(volume);
    const restarted = noticeRestart(volume.state);
    if (!dryRun) await recover(volume, restarted);
  };
  try {
    await work();
  } catch (error) {
    if (!isOfDamage(error, volume.state)) throw error;
    renew(volume);
    await work();
  }
}

function renew(volume: Volume): void {
  // SQLite removes and makes files by their names.
  volume.check();
  volume.state.renew();
  tellRenewed(volume.layout, volume.emit);
}

/** After a failure: recreates the state if that is what it comes of. @returns whether it was */
export async function renewIfDamaged(
  volume: Volume,
  error: unknown,
  dryRun: boolean,
): Promise<boolean> {
  if (!isOfDamage(error, volume.state)) return false;
  renew(volume);
  await bringInLine(volume, dryRun);
  return true;
}

function hold(target: string, owner: VolumeSettings["owner"]): Place {
  try {
    return holdPlace(target, owner);
  } catch (error) {
    throw openingError(error, target);
  }
}

/** States that are never closed, see below. A state that nobody holds would be closed by the garbage collector. */
const abandoned: State[] = [];

/**
 * SQLite takes the journal away as it closes, by its name: where that leads to somebody else's journal by now, the state stays open for
 * as long as the process lives.
 */
function closeState(state: State, { target }: Layout, place: Place): void {
  if (!place.isInPlace() && existsSync(join(target, HOME, "state.db-wal"))) abandoned.push(state);
  else state.close();
}

/** A state that cannot be read is given up: the visible tree stays, and the next sync publishes beside it. */
function openOrReplaceState(layout: Layout, emit: Volume["emit"]): State {
  try {
    return openState(layout.state);
  } catch (error) {
    if (!isBroken(error)) throw error;
    for (const suffix of STATE_SUFFIXES) removeFile(layout.state + suffix);
    tellRenewed(layout, emit);
    return openState(layout.state);
  }
}

function tellRenewed({ target }: Layout, emit: Volume["emit"]): void {
  const { state } = layoutOf(target);
  emit({ type: "healed", message: `the state ${state} could not be read; it is rebuilt` });
}
