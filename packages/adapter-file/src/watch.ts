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

/** Milliseconds of quiet that end a burst of changes, and how long a burst may last before it is told all the same. */
const QUIET = 100;
const LONGEST = 1000;
const SLICE = 8;

/**
 * @param path the source's path as the user wrote it, which may lead through symlinks that change
 * @throws SourceError `unsupported` where there are no watches to be had: polling has to do
 */
export async function* watchTree(
  path: string,
  findRoot: () => Promise<Root>,
  signal: AbortSignal,
): AsyncGenerator<void> {
  const watchers = new Map<string, FSWatcher>();
  let events = 0;
  let moved = false;
  let failure: unknown;
  let bell = Promise.withResolvers<void>();
  const wake = () => bell.resolve();
  signal.addEventListener("abort", wake, { once: true });

  function tell(): void {
    events++;
    wake();
  }

  function add(directory: string, onEvent: (kind: string, name: string | null) => void): void {
    if (watchers.has(directory)) return;
    try {
      const watcher = watch(directory, onEvent);
      watcher.on("error", fail);
      watchers.set(directory, watcher);
    } catch (error) {
      // Gone already, which an event of the directory above tells.
      if (errorCode(error) !== "ENOENT") throw error;
    }
  }

  /** Watches a directory and all below. The watch comes first, so that nothing is made unseen in between. */
  async function addTree(top: string): Promise<void> {
    const todo = [top];
    let began = performance.now();
    for (let directory = todo.pop(); directory !== undefined; directory = todo.pop()) {
      const here = directory;
      if (!isDirectory(here)) continue;
      add(here, (kind, name) => {
        tell();
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

  /** A name came, went, or stands for something else now. */
  function renew(changed: string): void {
    if (watchers.has(changed)) {
      for (const [directory, watcher] of watchers) {
        if (directory !== changed && !directory.startsWith(`${changed}/`)) continue;
        watcher.close();
        watchers.delete(directory);
      }
    }
    if (!isDirectory(changed)) return;
    // Told once more, for what was made in a new directory before its watch was there.
    addTree(changed).then(tell, fail);
  }

  function fail(error: unknown): void {
    failure ??= error;
    wake();
  }

  function closeAll(): void {
    for (const watcher of watchers.values()) watcher.close();
    watchers.clear();
  }

  /** Watches the root, and those names above it that decide which directory it is. */
  async function start(): Promise<void> {
    closeAll();
    moved = false;
    const root = await findRoot();
    const deciding = [basename(path), basename(root.path), "..data"];
    for (const above of new Set([dirname(path), dirname(root.path)])) {
      add(above, (kind, name) => {
        // Its other names are none of ours.
        if (name !== null && !deciding.includes(name)) return;
        tell();
        if (kind === "rename") moved = true;
      });
    }
    if (!root.isFile) await addTree(root.path);
  }

  try {
    await start();
    while (!signal.aborted) {
      if (failure !== undefined) throw failure;
      if (events === 0) {
        await bell.promise;
        bell = Promise.withResolvers();
        continue;
      }
      const began = performance.now();
      for (let seen = 0; seen !== events && performance.now() - began < LONGEST;) {
        seen = events;
        await sleep(QUIET, undefined, { signal });
      }
      if (moved) await start();
      events = 0;
      yield;
    }
  } catch (error) {
    if (!signal.aborted) throw impossible(error);
  } finally {
    signal.removeEventListener("abort", wake);
    closeAll();
  }
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
