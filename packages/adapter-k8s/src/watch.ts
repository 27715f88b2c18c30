/** What the API server tells by itself. */
import { setTimeout as sleep } from "node:timers/promises";
import type { HttpClient } from "@pannier/http-client";
import { type Api, isOlder, type Scope } from "./api.ts";
import { isGone } from "./errors.ts";

/**
 * Silence after which a watch is dead: the server sends a bookmark every minute (kube-apiserver's bookmarkFrequency), and ends a
 * watch only after that. A connection may be gone for hours without a word otherwise.
 */
export const LONGEST_SILENCE = 150_000;
/** Seconds after which the server is asked to end a watch, at least; up to twice that, at random, as client-go does. */
const SHORTEST_WATCH = 300;
const SHORTEST_WAIT = 1000;
const LONGEST_WAIT = 30_000;

export interface Watching {
  readonly api: Api;
  readonly client: HttpClient;
  readonly scope: Scope;
  /** The resourceVersion of the last listing, where there was one. */
  readonly since: () => string | undefined;
  /** Called with the resourceVersion of what happened. */
  readonly onChange: (version: string) => void;
  /** Called with a resourceVersion until which nothing happened since that listing. */
  readonly onQuiet: (since: string, until: string) => void;
}

/**
 * A hint for each thing that happens to the objects, and one wherever something may have happened unseen. Goes on after whatever
 * failure: polling tells of those that last.
 */
export async function* hintsOf(
  { api, client, scope, since, onChange, onQuiet }: Watching,
  signal: AbortSignal,
): AsyncGenerator<void> {
  let from: string | undefined;
  let isGap = false;
  /** From where on nothing was missed, until the last thing that happened. */
  let start = "0";
  let wait = SHORTEST_WAIT;
  while (!signal.aborted) {
    let heard = false;
    try {
      if (from === undefined) {
        // What was listed is known. From anywhere else on, something may have been missed.
        const listed: string | undefined = isGap ? undefined : since();
        isGap = listed === undefined;
        from = listed ?? (await api.now(scope, signal));
        start = from;
      }
      const seconds = Math.round(SHORTEST_WATCH * (1 + Math.random()));
      const events = await api.watch(
        scope,
        from as string,
        { client, seconds, operation: "watch" },
        signal,
      );
      if (isGap) yield;
      isGap = false;
      for await (const { type, resourceVersion } of events) {
        heard = true;
        from = resourceVersion;
        // What a listing has shown since needs no other.
        const shown = since();
        if (type === "changed") {
          start = resourceVersion;
          if (shown !== undefined && !isOlder(shown, resourceVersion)) continue;
          onChange(resourceVersion);
          yield;
        } else if (shown !== undefined && !isOlder(shown, start)) onQuiet(shown, resourceVersion);
      }
    } catch (error) {
      if (signal.aborted) return;
      if (isGone(error)) {
        from = undefined;
        isGap = true;
      }
    }
    if (heard) wait = SHORTEST_WAIT;
    else {
      await sleep(wait * (0.5 + Math.random()), undefined, { signal }).catch(() => {});
      wait = Math.min(2 * wait, LONGEST_WAIT);
    }
  }
}

/** Hints of several, as they come. */
export async function* merged(all: readonly AsyncGenerator<void>[]): AsyncGenerator<void> {
  const pending = new Map(
    all.map((one) => [one, one.next().then((result) => ({ one, result }))] as const),
  );
  try {
    while (pending.size > 0) {
      const { one, result } = await Promise.race(pending.values());
      if (result.done === true) pending.delete(one);
      else {
        pending.set(
          one,
          one.next().then((next) => ({ one, result: next })),
        );
        yield;
      }
    }
  } finally {
    // One that waits returns when the signal ends it.
    for (const one of pending.keys()) void one.return(undefined).catch(() => {});
  }
}
