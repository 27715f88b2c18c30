/** A mount held open from one sync to the next, and what its sources hint at. */
import type { SyncEvent } from "../events.ts";
import { type Mount, openMount } from "../mount/mount.ts";
import type { Layer } from "../mount/layer.ts";
import { gatherHints, type Storm } from "./storm.ts";
import type { Wakeup } from "./wakeup.ts";
import type { SyncOptions } from "../mount/sync-options.ts";

/** An open mount, and whatever listens to its sources. */
export interface Session {
  readonly mount: Mount;
  close(): Promise<void>;
}

export async function openSession(
  options: Omit<SyncOptions, "signal" | "onEvent">,
  wakeup: Wakeup,
  emit: (event: SyncEvent) => void,
  signal: AbortSignal,
): Promise<Session> {
  const mount = await openMount({ ...options, signal, onEvent: emit });
  const ending = new AbortController();
  const end = () => ending.abort(signal.reason);
  signal.addEventListener("abort", end, { once: true });
  if (signal.aborted) end();
  // One for all: a change may come from several of them.
  const storm = gatherHints(() => wakeup.wake(true));
  ending.signal.addEventListener("abort", () => storm.stop(), { once: true });
  const listening = mount.layers.map((layer) => listenToSource(mount, layer, storm, ending.signal));
  return {
    mount,
    async close() {
      end();
      signal.removeEventListener("abort", end);
      await Promise.allSettled(listening);
      await mount.close();
    },
  };
}

/** Hints of a source that watches itself. Without them, or when they fail, polling goes on. */
async function listenToSource(
  mount: Mount,
  layer: Layer,
  storm: Storm,
  signal: AbortSignal,
): Promise<void> {
  try {
    await listenTo(layer.source.watch?.(signal), () => storm.hint(), signal);
  } catch (error) {
    if (!signal.aborted)
      mount.emit({
        type: "warning",
        source: layer.position,
        message: `cannot be watched, only polled: ${(error as Error).message}`,
      });
  }
}

/** @param onHint called for each value */
export async function listenTo(
  hints: AsyncIterable<unknown> | undefined,
  onHint: () => void,
  signal: AbortSignal,
): Promise<void> {
  // A signal that is aborted tells nobody any more.
  if (hints === undefined || signal.aborted) return;
  const iterator = hints[Symbol.asyncIterator]();
  // An iterator that knows nothing of our signal must not keep the loop from ending.
  const aborted = new Promise<undefined>((resolve) =>
    signal.addEventListener("abort", () => resolve(undefined), { once: true }),
  );
  for (;;) {
    const next = await Promise.race([iterator.next(), aborted]);
    if (next === undefined || next.done === true) break;
    onHint();
  }
  void Promise.resolve(iterator.return?.()).catch(() => {});
}
