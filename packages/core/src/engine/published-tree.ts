/** What is published at a target, for those that pass it on. */
import { existsSync } from "node:fs";
import { join, resolve } from "node:path";
import { shownRows } from "../state/entries.ts";
import { generations } from "../state/generations.ts";
import { FILE } from "../state/row.ts";
import { RefusedError } from "../errors.ts";
import { quotePath } from "../source/path.ts";
import { hasTables } from "../state/state.ts";
import { layoutOf } from "../volume/layout.ts";
import { nothingPublished, openForReading, publishMode, toHistory } from "./history.ts";

/** A file or symlink of a published tree, as it was recorded. */
export type PublishedEntry =
  | {
      readonly kind: "file";
      readonly path: string;
      readonly size: number;
      readonly mode: number;
      /** Of the content, in hex. */
      readonly sha256: string;
    }
  | { readonly kind: "symlink"; readonly path: string; readonly target: string };

export interface PublishedTree {
  /** See `HistoryEntry.id`. */
  readonly id: number;
  readonly revision: string;
  /** Absolute path of the tree. It stays for as many publishes as trees are kept. */
  readonly path: string;
  /** Its sources, redacted. */
  readonly sources: readonly string[];
  /** In the order of paths. To be read soon, and to its end: the state is held open for it. */
  entries(): Generator<PublishedEntry>;
  close(): void;
}

/**
 * Opens what is published. May be called beside a running sync.
 *
 * @throws UsageError when nothing was published at the target
 */
export function openPublished(target: string): PublishedTree {
  const layout = layoutOf(resolve(target));
  if (!existsSync(layout.state)) throw nothingPublished(target);
  const state = openForReading(layout);
  const [latest] = hasTables(state) ? generations(state) : [];
  if (latest === undefined) {
    state.close();
    throw nothingPublished(target);
  }
  const mode = publishMode(state);
  const { id, revision, sources } = toHistory(latest, true, layout.target, mode);
  return {
    id,
    revision,
    path: mode === "mirror" ? layout.target : join(layout.generations, latest.tree ?? ""),
    sources: sources.map(({ url }) => url),
    *entries() {
      for (const { path, kind, size, mode: bits, sha256, fingerprint } of shownRows(state, id)) {
        if (kind === FILE) {
          if (sha256 === null)
            throw new RefusedError(
              `${quotePath(path)} is of a source of secrets: it is not passed on`,
              {
                hint: "leave that source out of what is pushed",
              },
            );
          yield { kind: "file", path, size: size ?? 0, mode: bits ?? 0o644, sha256 };
        } else yield { kind: "symlink", path, target: fingerprint };
      }
    },
    close: () => state.close(),
  };
}
