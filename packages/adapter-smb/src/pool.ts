/** The helper processes of a source: as many as there is work for, and none where there is none for a while. */
import { SourceError, untilAborted } from "@pannier/core/adapter";
import { isAnswer, libraryError } from "./errors.ts";
import { type Helper, startHelper } from "./helper.ts";
import type { Connection } from "./protocol.ts";

/** Processes at once. Each has some 40 MiB, and a connection of its own. */
const MAX_HELPERS = 4;
/**
 * Milliseconds of work after which others that wait are reason enough for a second one: it takes about as long to start. Of two
 * one prepares what it asks for, or passes on what it got, while the other waits.
 */
const ANOTHER_HELPER_FROM_MS = 200;
/**
 * Milliseconds for an answer from which on they are reason enough for more than that: then the server is far away, and most of
 * the time is waiting. From a server near by two read 2,000 files in 1.4 s on two cores, four in 1.7, one in 2.
 */
const MAX_SLOW_MS = 8;
/** Milliseconds of silence after which one that still owes an answer to somebody who left is taken for blocked. */
const SUSPECT_AFTER_MS = 100;
/** Milliseconds without work after which a process is ended. */
const IDLE = 10_000;

export interface PoolInit {
  readonly idleTimeout: number;
  readonly env: Readonly<Record<string, string | undefined>>;
  readonly script?: URL | undefined;
  /** Asked for each process: passwords may have changed since. */
  readonly connection: () => Promise<Connection>;
  /** Tries the connection of a new process, before anything else is asked of it. */
  readonly checkConnection: (
    helper: Helper,
    connection: Connection,
    signal: AbortSignal,
  ) => Promise<void>;
}

/** A process for as long as one has use for it. */
interface Lease {
  readonly helper: Helper;
  /** @param error what came of it. Where that is no answer of the server, the process is not used again. */
  release(error?: unknown): void;
}

export interface Pool {
  lease(signal: AbortSignal): Promise<Lease>;
  /** Leases a process for a while. */
  use<Result>(signal: AbortSignal, work: (helper: Helper) => Promise<Result>): Promise<Result>;
  close(): void;
}

interface Slot {
  readonly helper: Helper;
  /** Once it is connected. */
  readonly ready: Promise<Helper>;
  /** Its work until it was connected, which may take a while wherever the server is; `undefined` before that. */
  before: Helper["work"] | undefined;
  /** Leases. */
  load: number;
  /** Whether the last lease was given up: what it asked for may still be owed. */
  left: boolean;
  timer: NodeJS.Timeout | undefined;
}

export function createPool(init: PoolInit): Pool {
  const slots = new Set<Slot>();
  let closed = false;

  function start(): Slot {
    const { script, idleTimeout, env } = init;
    const helper = startHelper({ script, idleTimeout, env, onEnd: () => slots.delete(slot) });
    const ready = connect(helper).then(() => {
      slot.before = { ...helper.work };
      return helper;
    });
    const slot: Slot = {
      helper,
      ready,
      before: undefined,
      load: 0,
      left: false,
      timer: undefined,
    };
    endWhenIdle(slot);
    slot.ready.catch(() => end(slot, "the connection could not be made"));
    slots.add(slot);
    return slot;
  }

  async function connect(helper: Helper): Promise<void> {
    // Of use to others where who asked for it first waits no longer.
    const { signal } = new AbortController();
    const connection = await init.connection();
    await helper.ask({ op: "start", connection }, signal).catch((error: unknown) => {
      throw libraryError(error);
    });
    await init.checkConnection(helper, connection, signal);
  }

  function choose(): Slot {
    const usable: Slot[] = [];
    for (const slot of slots) {
      // It may be blocked for as long as the server is silent.
      const silence = slot.left && slot.load === 0 ? slot.helper.silence() : undefined;
      if (silence === undefined) usable.push(slot);
      else if (silence > SUSPECT_AFTER_MS) end(slot, "the server was silent");
    }
    const from = usable.length === 0 && slots.size >= MAX_HELPERS ? [...slots] : usable;
    // Of those that have as much to do, the first, which is connected already.
    return from.toSorted((a, b) => a.load - b.load)[0] ?? start();
  }

  async function lease(signal: AbortSignal): Promise<Lease> {
    signal.throwIfAborted();
    if (closed) throw new SourceError("unavailable", "the source was closed");
    const slot = choose();
    clearTimeout(slot.timer);
    slot.load++;
    const release = (error?: unknown) => {
      slot.load--;
      slot.left = signal.aborted;
      if (isBusy(slot, slots.size) && slot.load > 0 && slots.size < MAX_HELPERS && !closed) start();
      if (error !== undefined && !signal.aborted && !isAnswer(error)) {
        end(slot, "the connection broke");
      }
      if (slot.load > 0 || !slots.has(slot)) return;
      endWhenIdle(slot);
    };
    try {
      const helper = await untilAborted(slot.ready, signal);
      return { helper, release };
    } catch (error) {
      release();
      throw error;
    }
  }

  return {
    lease,
    async use(signal, work) {
      const { helper, release } = await lease(signal);
      let error: unknown;
      try {
        return await work(helper);
      } catch (reason) {
        error = reason;
        throw reason;
      } finally {
        release(error);
      }
    },
    close() {
      closed = true;
      for (const slot of slots) end(slot, "the source was closed");
    },
  };
}

/** @param among how many */
function isBusy({ helper: { work }, before }: Slot, among: number): boolean {
  if (before === undefined) return false;
  const time = work.time - before.time;
  return (
    time > (among === 1 ? ANOTHER_HELPER_FROM_MS : MAX_SLOW_MS * (work.answers - before.answers))
  );
}

function endWhenIdle(slot: Slot): void {
  slot.timer = setTimeout(() => end(slot, "nothing was asked for a while"), IDLE);
}

/** @param why for those who still wait for it */
function end({ helper, timer }: Slot, why: string): void {
  clearTimeout(timer);
  helper.end(new SourceError("unavailable", why));
}
