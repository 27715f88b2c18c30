import { lstat } from "node:fs/promises";
import { basename, extname, resolve } from "node:path";
import {
  type Adapter,
  decodedPath,
  type Entry,
  type FileEntry,
  IGNORE_FILE,
  type Scope,
  type Source,
  SourceError,
  UsageError,
} from "@pannier/core/adapter";
import { leftOutWarning } from "@pannier/file-server";
import { checkableFiles } from "@pannier/signatures";
import { type Calls, makeCalls } from "./calls.ts";
import { isMissing } from "./errors.ts";
import { fingerprintOf } from "./fingerprint.ts";
import { options } from "./options.ts";
import type { LaneData } from "./file-lane.ts";
import { fullPath } from "./local-path.ts";
import { checkCopied, closeFiles, type Reading, readEntry } from "./read.ts";
import { findRoot, type Root, sameRoot } from "./root.ts";
import { walk } from "./walk.ts";
import { watchTree } from "./watch.ts";

export const fileAdapter: Adapter<typeof options> = checkableFiles({
  name: "file",
  package: "@pannier/adapter-file",
  schemes: ["file"],
  options,
  description: "a directory or file on this machine, or on a volume mounted here",

  async open(location, rules, context): Promise<Source> {
    if (location.host !== "" || location.username !== undefined) {
      throw new UsageError(
        `a file source is on this machine, not on "${location.host}"`,
        "write file:///path, with three slashes",
      );
    }
    const path = resolve(decodedPath(location));
    const calls = makeCalls(context.idleTimeout);
    const files: Reading["open"] = new Set();
    let root: Root | undefined;
    const listLeftOut = leftOutWarning(context.warn);

    async function look(signal: AbortSignal): Promise<Root> {
      signal.throwIfAborted();
      root = await findRoot(path, rules, root, calls, signal);
      return root;
    }

    function readingOf({ path: found, isFile }: Root): Reading {
      return { root: found === "/" ? "" : found, isFile, calls, open: files };
    }

    async function* listTree(
      top: Root,
      signal: AbortSignal,
      scope: Scope | undefined,
    ): AsyncGenerator<readonly Entry[]> {
      const leftOut = listLeftOut();
      const tree = { root: readingOf(top).root, calls, idleTimeout: context.idleTimeout, scope };
      yield* walkTree(tree, leftOut.add, signal);
      // Mounted over, unmounted or switched meanwhile: what was listed is a mixture.
      if (!sameRoot(top, await look(signal))) {
        throw new SourceError("changed", "the source's path led elsewhere while it was listed");
      }
      leftOut.tell();
    }

    return {
      ranges: true,

      async probe(signal, known) {
        signal.throwIfAborted();
        // Of a tree, nothing cheaper than the listing tells.
        if (root?.isFile === false) return undefined;
        try {
          const found = await look(signal);
          if (!found.isFile) return undefined;
          context.request("probe");
          return { token: entryOf(basename(path), found.stats).fingerprint };
        } catch (error) {
          // It was published once, so it is more likely away than wrongly written.
          if (known === undefined || !isMissing((error as Error).cause)) throw error;
          throw new SourceError("unavailable", "the source's path is gone", { cause: error });
        }
      },

      async list(signal, scope) {
        signal.throwIfAborted();
        context.request("list");
        const found = await look(signal);
        if (!found.isFile) return { ordered: true, entries: listTree(found, signal, scope) };
        const entry = entryOf(basename(path), found.stats);
        return { ordered: true, entries: [[entry]], token: () => entry.fingerprint };
      },

      async read(entry, range, signal) {
        signal.throwIfAborted();
        context.request("read");
        return readEntry(readingOf(root ?? (await look(signal))), entry, range, signal);
      },

      watch: (signal) => watchTree(path, () => look(signal), signal),

      async lane() {
        // Elsewhere there is no telling whether a path still leads where it did.
        if (root === undefined || process.platform !== "linux") return undefined;
        const { root: top, isFile } = readingOf(root);
        const data: LaneData = { root: top, isFile };
        // Beside this file, whether that is source, built, or bundled with the program.
        return { module: new URL(`./file-lane${extname(import.meta.url)}`, import.meta.url), data };
      },

      localPath(entry) {
        if (root === undefined) return undefined;
        const reading = readingOf(root);
        return {
          path: fullPath(reading, entry.path),
          disposable: false,
          check: () => checkCopied(reading, entry),
        };
      },

      close: () => closeFiles(files),
    };
  },
});

interface Tree {
  readonly root: string;
  readonly calls: Calls;
  readonly idleTimeout: number;
  readonly scope: Scope | undefined;
}

async function* walkTree(
  { root, calls, idleTimeout, scope }: Tree,
  onSpecial: (path: string) => void,
  signal: AbortSignal,
): AsyncGenerator<readonly Entry[]> {
  const at = `${root}/${IGNORE_FILE}`;
  const stats = await calls.later(() => lstat(at).catch(() => undefined), signal);
  await scope?.ignoreFile(stats?.isFile() === true ? entryOf(IGNORE_FILE, stats) : undefined);
  yield* walk({
    root,
    idleTimeout,
    signal,
    onSpecial: (special) => {
      if (scope?.wants(special) !== false) onSpecial(special);
    },
    mayBeWanted: (path) => {
      const plain = path.replace(/\/$/, "");
      return scope === undefined || scope.enters(plain) || (plain === path && scope.wants(path));
    },
  });
}

function entryOf(path: string, stats: Root["stats"]): FileEntry {
  const { size, mode, mtimeMs: mtime } = stats;
  const fingerprint = fingerprintOf(stats, Date.now());
  return { kind: "file", path, size, mode: mode & 0o777, mtime, fingerprint };
}
