/** A lane: the thread that fetches batches of files by the module of their source; see `lanes.ts`. */
import { parentPort, workerData } from "node:worker_threads";
import type { OpenLane } from "./contract.ts";
import {
  CLOSED,
  type LaneDone,
  type LaneInit,
  type PartDone,
  THROTTLED,
  toColumns,
  type ToLane,
} from "./messages.ts";
import { openPartSink } from "./part-sink.ts";
import { openSink } from "./sink.ts";

const init = workerData as LaneInit;
const port = parentPort as NonNullable<typeof parentPort>;
const { openLane } = (await import(init.module)) as { readonly openLane: OpenLane };
const { idleTimeout, atOnce, mostUnlisted } = init;
const lane = openLane({ idleTimeout, atOnce, mostUnlisted });
const stop = new AbortController();
const underWay = new Set<Promise<void>>();
/** Of parts under way, by their numbers. */
const parts = new Map<number, AbortController>();

port.on("message", (message: ToLane) => {
  if (message === "stop") void close();
  else if ("atOnce" in message) lane.allow?.(message.atOnce);
  else if ("cancel" in message) parts.get(message.cancel)?.abort();
  else {
    const fetching = "part" in message ? fetchPart(message) : fetch(message);
    underWay.add(fetching);
    void fetching.finally(() => underWay.delete(fetching));
  }
});

async function close(): Promise<void> {
  stop.abort();
  for (const part of parts.values()) part.abort();
  await Promise.all(underWay);
  await lane.close?.();
  port.postMessage(CLOSED, []);
}

async function fetch({ id, files, data }: Extract<ToLane, { id: number }>): Promise<void> {
  const sink = openSink(files, init, () => port.postMessage(THROTTLED, []));
  try {
    await lane.read({ files: files.map(({ entry }) => entry), data }, sink, stop.signal);
  } catch {
    // What was not read is read by the source itself, which can say why not.
  }
  const { facts, ...rest } = sink.finish();
  const done: LaneDone = { id, facts: toColumns(facts), ...rest };
  port.postMessage(done, []);
}

async function fetchPart({ part, what, data }: Extract<ToLane, { part: number }>): Promise<void> {
  const own = new AbortController();
  parts.set(part, own);
  const sink = openPartSink(what, init, own.signal, () => port.postMessage(THROTTLED, []));
  const { entry, range } = what;
  try {
    await lane.readPart?.({ entry, range, data }, sink, own.signal);
  } catch {
    // As above.
  }
  parts.delete(part);
  const done: PartDone = { part, ...sink.finish() };
  port.postMessage(done, []);
}
