/**
 * Memory that is given back while every mount waits. V8 collects garbage when new objects need room; a sidecar that only polls makes few, and
 * would keep what the work before left behind for as long as it waits.
 */
import { setFlagsFromString } from "node:v8";
import { runInNewContext } from "node:vm";
import type { MountEvent } from "./events.ts";
import type { Mount } from "./mount.ts";

/** Milliseconds that a mount waits at least: a collection takes some tens of them, in which nothing else is done. */
const LONG = 5000;
/** Milliseconds in which what follows an attempt is over: answers to those who wait for it, hooks that begin. */
const SETTLED = 1000;

export interface Rest {
  onEvent(event: MountEvent): void;
  stop(): void;
}

/** @param collect for tests */
export function createRest(
  mounts: () => readonly Pick<Mount, "state">[],
  collect: () => void = collectGarbage,
): Rest {
  /** Since the last collection there was work; a start is some. */
  let isDue = true;
  let timer: NodeJS.Timeout | undefined;

  function look(): void {
    const soon = performance.now() + LONG - SETTLED;
    const isIdle = mounts().every(
      ({ state: { phase, due } }) => phase === "waiting" && (due === undefined || due > soon),
    );
    if (!isIdle) return;
    isDue = false;
    collect();
  }

  return {
    onEvent(event) {
      if (event.type === "done") isDue ||= event.result.result === "published";
      else if (event.type === "failed") isDue ||= event.received > 0;
      if (!isDue || event.type !== "waiting" || event.delay < LONG) return;
      clearTimeout(timer);
      timer = setTimeout(look, SETTLED);
      timer.unref();
    },
    stop: () => clearTimeout(timer),
  };
}

/** All that V8 can do without: also compiled code that was not used lately. */
function collectGarbage(): void {
  // Node has no other way, but for a flag that every start of the program would need.
  setFlagsFromString("--expose-gc");
  const gc = runInNewContext("gc") as (options: object) => void;
  setFlagsFromString("--no-expose-gc");
  gc({ type: "major", execution: "sync", flavor: "last-resort" });
}
