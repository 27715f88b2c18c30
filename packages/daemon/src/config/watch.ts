/** Noticing that the configuration file changed, also where it is a link that is swapped, as Kubernetes does with a ConfigMap. */
import { createHash } from "node:crypto";
import { type FSWatcher, readFileSync, statSync, watch } from "node:fs";
import { dirname } from "node:path";
import { sleep } from "@pannier/core";

/** Not every file system tells of changes. */
const POLL = 10_000;
/** Editors write in several steps. */
const SETTLE = 100;

export interface ConfigWatch {
  /**
   * Calls `onChange` after each change of the file since the watch was created, one call at a time, until aborted; again at the
   * next look where it says that the file was not taken over: what kept it from that may pass.
   */
  run(
    onChange: () => Promise<boolean>,
    signal: AbortSignal,
    /** Whether the file was taken over when it was first read. Default true. */
    isTakenOver?: boolean,
  ): Promise<void>;
}

/** To be created before the file is read, so that no change goes unnoticed. */
export function createConfigWatch(file: string): ConfigWatch {
  let known = digest(file);
  return {
    async run(onChange, signal, isTakenOver = true) {
      let touched = true;
      let wake: (() => void) | undefined;
      const watcher = watchFolder(dirname(file), () => {
        touched = true;
        wake?.();
      });
      try {
        while (!signal.aborted) {
          if (touched) await sleep(SETTLE, signal).catch(() => {});
          touched = false;
          const now = digest(file);
          // A file that is gone, as it may be for a moment while it is replaced, is no change.
          if (now !== undefined && (now !== known || !isTakenOver)) {
            known = now;
            isTakenOver = await onChange();
          }
          const waking = new AbortController();
          const abort = () => waking.abort();
          wake = abort;
          signal.addEventListener("abort", abort, { once: true });
          if (signal.aborted || touched) abort();
          await sleep(POLL, waking.signal).catch(() => {});
          signal.removeEventListener("abort", abort);
        }
      } finally {
        watcher?.close();
      }
    },
  };
}

/** The directory, not the file: `..data` is replaced in it, and the file itself never changes. */
function watchFolder(folder: string, onChange: () => void): FSWatcher | undefined {
  try {
    const watcher = watch(folder, { persistent: false }, onChange);
    watcher.on("error", () => watcher.close());
    return watcher;
  } catch {
    return undefined;
  }
}

/** @returns `undefined` for what is no file: a pipe can be read once, by whoever reads the configuration */
function digest(file: string): string | undefined {
  try {
    if (!statSync(file).isFile()) return undefined;
    return createHash("sha256").update(readFileSync(file)).digest("hex");
  } catch {
    return undefined;
  }
}
