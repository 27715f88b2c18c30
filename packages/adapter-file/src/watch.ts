/**
 * Hints from the operating system (inotify) that something below a directory changed.
 *
 * One watch for each directory, as inotify has it. Node's own recursive watching takes one for each file as well, which
 * for a large tree is more than the kernel allows. A network mount tells nothing of what its other clients do.
 */
import { type FSWatcher, lstatSync, readdirSync, watch } from "node:fs";
import { basename, dirname } from "node:path";
import { setImmediate as turn, setTimeout as sleep } from "node:timers/promises";
import { SourceError } from "@pannier/core/adapter";
import { errorCode } from "./errors.ts";
import type { Root } from "./root.ts";

/** Milliseconds of work after which others have their turn. */
const SLICE = 8;
/** Milliseconds after which a root that was replaced is looked for: between its removal and its successor, nothing is there. */
const REPLACED = 100;

/**
 * @param path the source's path as the user wrote it, which may lead through symlinks that change
 * @throws SourceError `unsupported` where there are no watches to be had: polling has to do
 */
export async function* watchTree(
  path: string,
  findRoot: () => Promise<Root>,
  signal: AbortSignal,
): AsyncGenerator<void> {
  let changed = false;
  let moved = false;
  let failure: unknown;
  let bell = Promise.withResolvers<void>();
  const wake = () => bell.resolve();
  const watches = createWatches(
    () => {
      changed = true;
      wake();
    },
    (error) => {
      failure ??= error;
      wake();
    },
    signal,
  );
  signal.addEventListener("abort", wake, { once: true });

  /** Watches the root, and those names above it that decide which directory it is. */
  async function start(): Promise<void> {
    watches.close();
    moved = false;
    const root = await findRoot();
    const deciding = [basename(path), basename(root.path), "..data"];
    for (const above of new Set([dirname(path), dirname(root.path)])) {
      watches.add(above, (kind, name) => {
        // Its other names are none of ours.
        if (name !== null && !deciding.includes(name)) return;
        changed = true;
        if (kind === "rename") moved = true;
        wake();
      });
    }
    if (!root.isFile) await watches.addTree(root.path);
  }

  try {
    await start();
    while (!signal.aborted) {
      if (failure !== undefined) throw failure;
      if (!changed) {
        await bell.promise;
        bell = Promise.withResolvers();
        continue;
      }
      if (moved) {
        await sleep(REPLACED, undefined, { signal });
        await start();
      }
      changed = false;
      yield;
    }
  } catch (error) {
    if (!signal.aborted) throw impossible(error);
  } finally {
    signal.removeEventListener("abort", wake);
    watches.close();
  }
}

type OnEvent = (kind: string, name: string | null) => void;

interface Watches {
  /** Watches a directory, but not what is below. */
  add(directory: string, onEvent: OnEvent): void;
  /** Watches a directory and all below. */
  addTree(top: string): Promise<void>;
  close(): void;
}

/** @param onChange called for each change in what `addTree` was given */
function createWatches(
  onChange: () => void,
  onFailure: (error: unknown) => void,
  signal: AbortSignal,
): Watches {
  const watchers = new Map<string, FSWatcher>();

  function add(directory: string, onEvent: OnEvent): void {
    if (watchers.has(directory)) return;
    try {
      const watcher = watch(directory, onEvent);
      watcher.on("error", onFailure);
      watchers.set(directory, watcher);
    } catch (error) {
      // Gone already, which an event of the directory above tells.
      if (errorCode(error) !== "ENOENT") throw error;
    }
  }

  /** The watch comes first, so that nothing is made unseen in between. */
  async function addTree(top: string): Promise<void> {
    const todo = [top];
    let began = performance.now();
    for (let directory = todo.pop(); directory !== undefined; directory = todo.pop()) {
      const here = directory;
      if (!isDirectory(here)) continue;
      add(here, (kind, name) => {
        onChange();
        if (kind === "rename" && name !== null) renew(`${here}/${name}`);
      });
      for (const name of subdirectories(here)) todo.push(`${here}/${name}`);
      if (performance.now() - began > SLICE) {
        await turn();
        if (signal.aborted) return;
        began = performance.now();
      }
    }
  }

  /** A path came, went, or stands for something else now. */
  function renew(path: string): void {
    if (watchers.has(path)) {
      for (const [directory, watcher] of watchers) {
        if (directory !== path && !directory.startsWith(`${path}/`)) continue;
        watcher.close();
        watchers.delete(directory);
      }
    }
    if (!isDirectory(path)) return;
    // A second hint, for what was made in a new directory before its watch was there.
    addTree(path).then(onChange, onFailure);
  }

  return {
    add,
    addTree,
    close() {
      for (const watcher of watchers.values()) watcher.close();
      watchers.clear();
    },
  };
}

function impossible(error: unknown): unknown {
  const code = errorCode(error);
  if (error instanceof SourceError || code === undefined) return error;
  const setting = code === "EMFILE" ? "max_user_instances" : "max_user_watches";
  return new SourceError("unsupported", `changes cannot be watched (${code})`, {
    cause: error,
    hint: code === "ENOSPC" || code === "EMFILE" ? `raise fs.inotify.${setting}` : undefined,
  });
}

function isDirectory(path: string): boolean {
  return lstatSync(path, { throwIfNoEntry: false })?.isDirectory() === true;
}

function subdirectories(path: string): string[] {
  try {
    return readdirSync(path, { withFileTypes: true })
      .filter((entry) => entry.isDirectory())
      .map((entry) => entry.name);
  } catch {
    // Gone, or not to be read: the listing says so where it matters.
    return [];
  }
}
