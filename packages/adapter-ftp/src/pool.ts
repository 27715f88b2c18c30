/** Connections to one server: as many as are useful, and no more than it takes. */
import { SourceError, untilAborted } from "@pannier/core/adapter";
import { connect, type Connection, type ConnectionInit } from "./connection.ts";
import { isTooMany, translateConnect } from "./errors.ts";
import { createWays, type Ways } from "./ways.ts";

/** Connections at once. One does one thing at a time, and servers often allow about ten from one address. */
export const MAX_CONNECTIONS = 8;
/** Milliseconds after which one more is tried, where the server took no more of them: it may have been starting, or busy. */
const RETRY_AFTER_MS = 60_000;

export interface Pool {
  /** Does something on a connection of its own. What was left in an unknown state is not used again. */
  run<Result>(
    signal: AbortSignal,
    work: (connection: Connection) => Promise<Result>,
  ): Promise<Result>;
  /** The same, with the connection given back by the caller: when a stream has ended. */
  take(signal: AbortSignal): Promise<Lease>;
  /** What the server can. */
  readonly ways: Ways;
  /** Ends connections that nobody uses, but so many, now and from now on. */
  keepIdle(count: number): void;
  close(): void;
}

export interface Lease {
  readonly connection: Connection;
  /** Gives it back; one that was closed is forgotten. */
  release(): void;
}

export function createPool(options: Omit<ConnectionInit, "ways">): Pool {
  const init: ConnectionInit = { ...options, ways: createWays() };
  const idle: Connection[] = [];
  const all = new Set<Connection>();
  /** For a connection, or for room for one. */
  const waiting = createQueue();
  let connecting = 0;
  let refused: { readonly at: number; readonly most: number } | undefined;
  let mostIdle = MAX_CONNECTIONS;
  let closed = false;

  function most(): number {
    return refused === undefined || performance.now() - refused.at >= RETRY_AFTER_MS
      ? MAX_CONNECTIONS
      : refused.most;
  }

  function forget(connection: Connection): void {
    connection.close();
    all.delete(connection);
    waiting.wake();
  }

  function lease(connection: Connection): Lease {
    let released = false;
    return {
      connection,
      release() {
        if (released) return;
        released = true;
        const isSpare = idle.length >= mostIdle && waiting.length === 0;
        if (closed || isSpare || connection.closed()) return forget(connection);
        idle.push(connection);
        waiting.wake();
      },
    };
  }

  /** One more connection, for whoever waits longest by then: signing in may take longer than one that is there needs to be free. */
  async function open(): Promise<void> {
    connecting++;
    try {
      const connection = await connect(init);
      all.add(connection);
      lease(connection).release();
    } catch (error) {
      // With others there, a refusal means that they are as many as there may be.
      const failure = translateConnect(error);
      const isFull = isTooMany(error) || (failure as SourceError).code === "unavailable";
      if (isFull && all.size > 0) refused = { at: performance.now(), most: all.size };
      else waiting.fail(failure);
      waiting.wake();
    } finally {
      connecting--;
    }
  }

  async function take(signal: AbortSignal): Promise<Lease> {
    for (;;) {
      signal.throwIfAborted();
      if (closed) throw new SourceError("unavailable", "the source was closed");
      const free = idle.pop();
      if (free === undefined) {
        if (all.size + connecting < most()) void open();
        await waiting.wait(signal);
      } else if (free.closed()) forget(free);
      else return lease(free);
    }
  }

  return {
    take,
    async run(signal, work) {
      const { connection, release } = await take(signal);
      const onAbort = () => connection.close();
      signal.addEventListener("abort", onAbort, { once: true });
      try {
        return await work(connection);
      } catch (error) {
        signal.throwIfAborted();
        throw error;
      } finally {
        signal.removeEventListener("abort", onAbort);
        release();
      }
    },
    ways: init.ways,
    keepIdle(count) {
      mostIdle = count;
      for (const connection of idle.splice(count)) forget(connection);
    },
    close() {
      closed = true;
      for (const connection of all) connection.close();
      while (waiting.length > 0) waiting.wake();
    },
  };
}

/** Those who wait, in the order in which they came. */
function createQueue() {
  let waiting: PromiseWithResolvers<void>[] = [];

  /** The longest waiting looks again. */
  function wake(): void {
    waiting.shift()?.resolve();
  }

  return {
    get length(): number {
      return waiting.length;
    },
    wait(signal: AbortSignal): Promise<void> {
      const turn = Promise.withResolvers<void>();
      waiting.push(turn);
      return untilAborted(turn.promise, signal, () => {
        const isWoken = !waiting.includes(turn);
        waiting = waiting.filter((one) => one !== turn);
        // What it was woken for is the next one's.
        if (isWoken) wake();
      });
    },
    wake,
    /** The longest waiting fails. */
    fail(error: unknown): void {
      waiting.shift()?.reject(error);
    },
  };
}
