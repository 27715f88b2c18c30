/** The lock file of a mount: what each layer was, by its revision and its content. */
import { createHash, type Hash, randomUUID } from "node:crypto";
import { readFileSync, renameSync, rmSync, statSync, writeFileSync } from "node:fs";
import { RefusedError } from "../errors.ts";
import { type LockedLayer, readLock } from "../mount/lock-file.ts";
import { UsageError } from "../source/errors.ts";
import { shownRows } from "../state/entries.ts";
import type { Generation, LayerRecord } from "../state/generations.ts";
import { promotePlan } from "../state/promote.ts";
import { FILE } from "../state/row.ts";
import { longTransaction, type State } from "../state/state.ts";
import { makePause, type Pause } from "../timing/slices.ts";
import type { Next } from "./make-plan.ts";
import type { Run } from "./run.ts";

type Layers = readonly Pick<LayerRecord, "url" | "into" | "revision">[];

/** What published trees hold: it never changes under one id, as long as the database is the same, which a damaged state gets anew. */
const known = new WeakMap<
  State["db"],
  { readonly id: number; readonly digests: readonly string[] }
>();

/** Refuses other sources and revisions than the file has, before anything is fetched. @throws RefusedError, UsageError */
export function checkLockedRevisions({ mount }: Run, layers: Layers): void {
  const { lock, locked } = mount.settings;
  if (lock !== undefined && locked) compare(readLock(lock), layers, undefined, lock);
}

/**
 * Compares what is about to be published with the file, or makes the file that is to say it.
 *
 * @throws RefusedError where it is not what the file says; UsageError where the file cannot be read or written
 */
export async function lockPlanned(
  { mount, signal }: Run,
  { published, layers }: Next,
): Promise<{ keep(): void; drop(): void }> {
  const { lock, locked } = mount.settings;
  if (lock === undefined) return { keep() {}, drop() {} };
  const { state } = mount.volume;
  const pause = makePause(signal);
  const id = (published?.id ?? 0) + 1;
  // The rows as they will be: tried, and undone.
  const work = async () => {
    await promotePlan(state, id, { deltas: false }, pause);
    return digestsOf(state, id, layers.length, pause);
  };
  const digests = await longTransaction(state, work, false);
  if (!locked) return prepareLock(lock, layers, digests);
  compare(readLock(lock), layers, digests, lock);
  return { keep() {}, drop() {} };
}

/** The same of what is published already, which stays. */
export async function lockPublished(
  { mount, signal }: Run,
  { id }: Generation,
  layers: Layers,
): Promise<void> {
  const { lock, locked, dryRun } = mount.settings;
  if (lock === undefined || (dryRun && !locked)) return;
  const { state } = mount.volume;
  let found = known.get(state.db);
  if (found?.id !== id || found.digests.length !== layers.length) {
    const digests = await digestsOf(state, id, layers.length, makePause(signal));
    found = { id, digests };
    known.set(state.db, found);
  }
  if (locked) compare(readLock(lock), layers, found.digests, lock);
  else prepareLock(lock, layers, found.digests).keep();
}

async function digestsOf(
  state: State,
  generation: number,
  layers: number,
  pause: Pause,
): Promise<string[]> {
  const sums = Array.from({ length: layers }, () => createHash("sha256"));
  for (const { path, layer, kind, mode, sha256, fingerprint } of shownRows(state, generation)) {
    const isExecutable = ((mode ?? 0) & 0o111) !== 0;
    const shown =
      // Of what is secret there is no digest, and the fingerprint is that of a version.
      kind === FILE
        ? [path, "file", sha256 ?? fingerprint, isExecutable]
        : [path, "link", fingerprint];
    (sums[layer] as Hash).update(`${JSON.stringify(shown)}\n`);
    await pause();
  }
  return sums.map((sum) => `sha256:${sum.digest("hex")}`);
}

/** @param digests `undefined`: not known yet */
function compare(
  locked: readonly LockedLayer[],
  layers: Layers,
  digests: readonly string[] | undefined,
  file: string,
): void {
  if (locked.length !== layers.length)
    throw refused(
      `the lock file ${file} has ${locked.length} sources, and there are ${layers.length}`,
    );
  for (const [index, { url, into, revision }] of layers.entries()) {
    const one = locked[index] as LockedLayer;
    if (one.source !== url || one.into !== into)
      throw refused(`the lock file ${file} has ${one.source} in the place of ${url}`);
    if (one.revision !== revision)
      throw refused(
        `${url} is at ${revision || "no revision"}, and locked at ${one.revision || "none"}`,
      );
    if (digests !== undefined && digests[index] !== one.digest)
      throw refused(`${url} holds other content than is locked`);
  }
}

function refused(message: string): RefusedError {
  return new RefusedError(message, {
    hint: "name the locked revision in the URL, or sync without --locked, which writes the lock file again",
  });
}

/** Writes a file beside, which takes the place of the old one later, or not. Nothing where the old one says the same. */
function prepareLock(
  file: string,
  layers: Layers,
  digests: readonly string[],
): { keep(): void; drop(): void } {
  const content: LockedLayer[] = layers.map(({ url, into, revision }, index) => {
    return { source: url, into, revision, digest: digests[index] ?? "" };
  });
  const text = `${JSON.stringify({ version: 1, layers: content }, undefined, 2)}\n`;
  if (isContent(file, text)) return { keep() {}, drop() {} };
  if (statSync(file, { throwIfNoEntry: false })?.isDirectory() === true)
    throw new UsageError(`the lock file ${file} is a directory`, "name a file");
  const temporary = `${file}.${randomUUID()}`;
  const drop = () => rmSync(temporary, { force: true });
  const orFail = (write: () => void) => {
    try {
      write();
    } catch (error) {
      drop();
      const { code } = error as NodeJS.ErrnoException;
      throw new UsageError(
        `the lock file ${file} cannot be written (${code})`,
        "check its directory and its mode",
        { cause: error },
      );
    }
  };
  orFail(() => writeFileSync(temporary, text, { flag: "wx" }));
  return { keep: () => orFail(() => renameSync(temporary, file)), drop };
}

function isContent(file: string, text: string): boolean {
  try {
    return readFileSync(file, "utf8") === text;
  } catch {
    return false;
  }
}
