/** A bell that is heard once, however often it was rung before anybody listened. */
export interface Trigger extends AsyncIterable<void> {
  ring(): void;
  /** Resolves when the bell is rung, or was since it was last heard; also when aborted. */
  heard(signal?: AbortSignal): Promise<void>;
}

export function createTrigger(): Trigger {
  let rung = false;
  const listeners = new Set<() => void>();
  const heard = (signal?: AbortSignal) =>
    new Promise<void>((resolve) => {
      const listener = () => {
        listeners.delete(listener);
        signal?.removeEventListener("abort", listener);
        // What is rung after the end is for the next listener.
        if (signal?.aborted !== true) rung = false;
        resolve();
      };
      if (rung || signal?.aborted === true) {
        listener();
        return;
      }
      listeners.add(listener);
      signal?.addEventListener("abort", listener, { once: true });
    });
  return {
    ring() {
      rung = true;
      for (const listener of listeners) listener();
    },
    heard,
    [Symbol.asyncIterator]() {
      const ended = new AbortController();
      return {
        async next() {
          await heard(ended.signal);
          return { done: ended.signal.aborted, value: undefined };
        },
        return() {
          ended.abort();
          return Promise.resolve({ done: true, value: undefined });
        },
      };
    },
  };
}
