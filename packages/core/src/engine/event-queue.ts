/** Events on their way from what happens to who reads of it. */
import type { SyncEvent } from "../events.ts";

/** What is pushed waits until it is read. */
export function eventQueue(): {
  push(event: SyncEvent): void;
  end(error?: unknown): void;
  read(): AsyncGenerator<SyncEvent, void>;
} {
  let waiting: SyncEvent[] = [];
  let ended: { readonly error: unknown } | undefined;
  let wake: (() => void) | undefined;
  return {
    push(event) {
      waiting.push(event);
      wake?.();
    },
    end(error) {
      ended = { error };
      wake?.();
    },
    async *read() {
      for (;;) {
        const batch = waiting;
        waiting = [];
        yield* batch;
        if (waiting.length > 0) continue;
        if (ended !== undefined) {
          if (ended.error !== undefined) throw ended.error;
          return;
        }
        await new Promise<void>((resolve) => {
          wake = resolve;
        });
      }
    },
  };
}
