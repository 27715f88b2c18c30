/** The connections of a lane, all to one server, kept for its next requests. */
import { type Connection, connect, type LaneTarget } from "./connection.ts";

export interface Pool {
  /**
   * A connection that is free.
   *
   * @param target where to; the kept ones are closed where it is another than last time
   * @param mayBeKept false: a new one
   */
  take(target: LaneTarget, mayBeKept: boolean): Connection;
  /** To be called now and then: ends connections whose server hardly sends. False where there were any. */
  check(now: number): boolean;
  /** Fails the requests under way. */
  close(): void;
}

export interface PoolEvents {
  /** A connection became free. */
  idle(): void;
  /** One can not be used any more. */
  gone(everConnected: boolean): void;
}

export function createPool(idleTimeout: number, events: PoolEvents): Pool {
  const all = new Set<Connection>();
  const idle: Connection[] = [];
  let target: LaneTarget | undefined;

  function open(wanted: LaneTarget): Connection {
    const connection: Connection = connect(wanted, idleTimeout, {
      idle() {
        if (isSame(target, wanted)) idle.push(connection);
        else connection.close();
        events.idle();
      },
      gone(everConnected) {
        all.delete(connection);
        const at = idle.indexOf(connection);
        if (at !== -1) idle.splice(at, 1);
        events.gone(everConnected);
      },
    });
    all.add(connection);
    return connection;
  }

  return {
    take(wanted, mayBeKept) {
      if (!isSame(target, wanted)) {
        for (const connection of idle.splice(0)) connection.close();
        target = wanted;
      }
      return (mayBeKept ? idle.pop() : undefined) ?? open(wanted);
    },
    check(now) {
      let silent = false;
      for (const connection of all) silent = !connection.check(now) || silent;
      return !silent;
    },
    close() {
      for (const connection of all) connection.close();
    },
  };
}

function isSame(a: LaneTarget | undefined, b: LaneTarget): boolean {
  return a?.origin === b.origin && a.tls.version === b.tls.version;
}
