/** `--publish mirror`: what the plan needs is fetched beside the target first. */
import { lchownSync, lstatSync, mkdirSync, symlinkSync } from "node:fs";
import { join } from "node:path";
import { hasEntries, publishedEntry } from "../state/entries.ts";
import { rowsToPut } from "../state/plan-paths.ts";
import { FILE, type PublishedRow, SYMLINK } from "../state/row.ts";
import { makePause } from "../timing/slices.ts";
import { copyPublished } from "./copy.ts";
import { type Fetcher, type FetchJob, openJournal } from "./journal.ts";
import { randomName } from "./layout.ts";
import { hasModes } from "./modes.ts";
import { refuseObstacles } from "./obstacles.ts";
import { isAsRecorded } from "./recorded.ts";
import { removeTree } from "./remove.ts";
import { openTree, type Tree } from "./tree.ts";
import { READING, type TreeSettings } from "./tree-settings.ts";
import type { Volume } from "./volume.ts";
import { removeFile } from "./files.ts";

/** Fetches what the plan needs to a staging directory, whose name is returned. Nothing in the target changes. */
export async function stageMirror(
  volume: Volume,
  tree: Tree,
  fetcher: Fetcher,
  owner: TreeSettings["owner"],
  signal: AbortSignal,
): Promise<string> {
  const { state, layout } = volume;
  const pause = makePause(signal);
  await refuseObstacles(state, tree, pause);
  const staging = randomName("staging");
  mkdirSync(join(layout.home, staging));
  const stage = openTree(join(layout.home, staging), READING);
  const journal = openJournal(state);
  const published = hasEntries(state)
    ? publishedEntry(state)
    : (): PublishedRow | undefined => undefined;
  const modes = hasModes(state);
  let number = 0;
  async function* toFetch(): AsyncGenerator<FetchJob> {
    for (const row of rowsToPut(state)) {
      const others = pause();
      if (others !== undefined) await others;
      const staged = String(++number);
      const { path: place, release } = stage.at(staged, false);
      const before = published(row.path);
      const copied =
        row.kind === FILE && row.content === "samePublished" && before !== undefined
          ? await copyPublished(tree, before, place, row.mode, owner)
          : undefined;
      if (row.kind === SYMLINK) {
        symlinkSync(row.fingerprint, place);
        if (owner !== undefined) lchownSync(place, owner.uid, owner.gid);
        journal.note(row, {
          size: null,
          sha256: null,
          ino: lstatSync(place).ino,
          disk_mtime: null,
          change: row.change,
          staged,
        });
      } else if (copied !== undefined) {
        journal.note(row, { ...copied, change: row.change, staged });
      } else {
        yield {
          row,
          at: () => ({ path: place, release }),
          done(written) {
            const touched =
              row.content !== "mustFetch" &&
              before?.kind === FILE &&
              written.sha256 !== null &&
              before.sha256 === written.sha256 &&
              before.mode === row.mode &&
              isAsRecorded(tree, before, modes);
            if (touched) {
              removeFile(place);
              journal.note(row, { ...before, change: "touched" });
            } else
              journal.note(row, {
                size: written.size,
                sha256: written.sha256,
                ino: written.ino,
                disk_mtime: written.mtime,
                change: row.change === "touched" ? "changed" : row.change,
                staged,
              });
          },
        };
        continue;
      }
      release();
    }
  }
  try {
    await fetcher.fetchAll(toFetch());
    journal.flush();
    return staging;
  } catch (error) {
    await removeTree(join(layout.home, staging), makePause());
    throw error;
  } finally {
    stage.close();
  }
}
