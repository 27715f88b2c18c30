/** An event that is noticed once, however often it was set before anybody waited for it. */
export interface AutoResetEvent extends AsyncIterable<void> {
  set(): void;
  /** Resolves when the event is set, or was since the last wait; also when aborted. */
  wait(signal?: AbortSignal): Promise<void>;
}

export function createAutoResetEvent(): AutoResetEvent {
  let isSet = false;
  const waiters = new Set<() => void>();
  const wait = (signal?: AbortSignal) =>
    new Promise<void>((resolve) => {
      const waiter = () => {
        waiters.delete(waiter);
        signal?.removeEventListener("abort", waiter);
        // What is set after the end is for the next one.
        if (signal?.aborted !== true) isSet = false;
        resolve();
      };
      if (isSet || signal?.aborted === true) {
        waiter();
        return;
      }
      waiters.add(waiter);
      signal?.addEventListener("abort", waiter, { once: true });
    });
  return {
    set() {
      isSet = true;
      for (const waiter of waiters) waiter();
    },
    wait,
    [Symbol.asyncIterator]() {
      const ended = new AbortController();
      return {
        async next() {
          await wait(ended.signal);
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
