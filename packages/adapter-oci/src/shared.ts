/** Work that several callers wait for: done once, and given up when nobody waits any more. */
import { untilAborted } from "@pannier/core/adapter";

interface Task {
  readonly promise: Promise<unknown>;
  readonly abort: AbortController;
  waiting: number;
}

export interface SharedWork {
  /** Does the work, or joins the one that is done under the same name. */
  <Result>(
    name: string,
    work: (signal: AbortSignal) => Promise<Result>,
    signal: AbortSignal,
  ): Promise<Result>;
}

/** @param closing ends all */
export function makeSharedWork(closing: AbortSignal): SharedWork {
  const tasks = new Map<string, Task>();
  // Not AbortSignal.any for each: a signal that lives as long as the source would keep them all (nodejs/node#64476).
  const onClose = () => tasks.forEach(({ abort }) => abort.abort(closing.reason));
  closing.addEventListener("abort", onClose, { once: true });
  return async (name, work, signal) => {
    signal.throwIfAborted();
    closing.throwIfAborted();
    let task = tasks.get(name);
    if (task === undefined) {
      const abort = new AbortController();
      const promise = work(abort.signal);
      const made: Task = { promise, abort, waiting: 0 };
      const over = () => {
        if (tasks.get(name) === made) tasks.delete(name);
      };
      promise.then(over, over);
      tasks.set(name, made);
      task = made;
    }
    task.waiting++;
    try {
      return (await untilAborted(task.promise, signal)) as never;
    } finally {
      if (--task.waiting === 0) {
        task.abort.abort(signal.reason ?? new Error("nobody waits for it"));
        if (tasks.get(name) === task) tasks.delete(name);
      }
    }
  };
}
