/** After a publish: the trees that are kept no longer, and the rows that only they needed. */
import { lstatSync, readdirSync, readlinkSync } from "node:fs";
import { basename, join } from "node:path";
import { readCandidate, writeCandidate } from "./candidate.ts";
import { randomName } from "./layout.ts";
import { isDirectory, moveTree, removeTree } from "./remove.ts";
import type { Volume } from "./volume.ts";
import { deleteEnded } from "../state/entries.ts";
import { deleteDirectories } from "../state/directories.ts";
import { deleteDeltas, deleteGenerations, forgetTree, generations } from "../state/generations.ts";
import { makePause, type Pause } from "../timing/slices.ts";
import { longTransaction } from "../state/state.ts";

/** Generations whose numbers stay in the history after their trees are gone. */
const HISTORY = 200;

/**
 * Keeps the newest `keep` trees. The oldest of the others becomes the next candidate, out of the sight of readers, the rest is deleted.
 */
export async function collect(volume: Volume, keep: number, pause: Pause): Promise<void> {
  const { state, layout } = volume;
  const withTree = generations(state).filter(({ tree }) => tree !== null);
  for (const old of withTree.slice(Math.max(1, keep)).toReversed()) {
    const from = old.tree as string;
    const recyclable =
      readCandidate(state) === undefined &&
      old.slot !== null &&
      isDirectory(join(layout.generations, from));
    const name = randomName(recyclable ? "candidate" : "trash");
    await longTransaction(state, async () => {
      forgetTree(state, old.id);
      if (recyclable)
        writeCandidate(state, { name, slot: old.slot as number, base: old.id, clean: true, from });
      else if (old.slot !== null) await deleteDirectories(state, old.slot, pause);
    });
    // A rename first: a reader in the old tree finds it gone, never half gone.
    const retired = join(layout.generations, from);
    if (isDirectory(retired)) moveTree(retired, join(layout.home, name));
    if (recyclable)
      writeCandidate(state, { name, slot: old.slot as number, base: old.id, clean: true });
    else await removeTree(join(layout.home, name), pause);
  }
  await sweepTrees(volume);
  await forget(volume, pause);
}

/**
 * Brings trees and state in line: forgets older trees that somebody removed, and removes trees that the state does not know, but
 * never the visible one: it outlives a lost state.
 */
export async function sweepTrees({ state, layout, link }: Volume): Promise<void> {
  const [, ...older] = generations(state).filter(({ tree }) => tree !== null);
  for (const { id, tree } of older)
    if (!isDirectory(join(layout.generations, tree as string))) forgetTree(state, id);
  const known = new Set(generations(state).flatMap(({ tree }) => tree ?? []));
  const visible = join(layout.root, link);
  if (lstatSync(visible, { throwIfNoEntry: false })?.isSymbolicLink() === true)
    known.add(basename(readlinkSync(visible)));
  await sweep(layout.generations, known);
}

export async function sweep(directory: string, known: ReadonlySet<string>): Promise<void> {
  const pause = makePause();
  for (const name of readdirSync(directory, { encoding: "buffer" }))
    if (!known.has(name.toString()))
      await removeTree(Buffer.concat([Buffer.from(`${directory}/`), name]), pause);
}

/** Deletes rows that no kept tree, and not the candidate, refers to. */
async function forget(volume: Volume, pause: Pause): Promise<void> {
  const { state } = volume;
  const kept = generations(state).filter(({ tree }) => tree !== null);
  const [latest, previous] = generations(state);
  const newest = latest?.id ?? 0;
  const oldest = Math.min(
    // A mirror keeps no trees; what its last revision changed can be told all the same.
    volume.publish === "mirror" ? (previous?.id ?? newest) : newest,
    ...kept.map(({ id }) => id),
    readCandidate(state)?.base ?? newest,
    newest,
  );
  await longTransaction(state, async () => {
    await deleteEnded(state, oldest, pause);
    await deleteDeltas(state, oldest, pause);
    deleteGenerations(state, newest - HISTORY, oldest);
  });
}
