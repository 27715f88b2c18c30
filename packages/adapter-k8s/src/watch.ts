/** What the API server tells by itself. */
import { setTimeout as sleep } from "node:timers/promises";
import type { HttpClient } from "@pannier/http-client";
import type { Resource } from "./address.ts";
import { type Api, isOlder, type Scope } from "./api.ts";
import { isGone } from "./errors.ts";
import type { Journal } from "./journal.ts";
import { objectOf } from "./objects.ts";

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
  readonly resource: Resource;
  readonly journal: Journal;
  /** Whether the server was asked already for what is there: a first question that is yet to come misses nothing. */
  readonly asked: () => boolean;
  /** The resourceVersion of the last listing, where there was one in the journal's era. */
  readonly since: () => string | undefined;
}

/**
 * A hint for each thing that happens to the objects, and one wherever something may have happened unseen. Goes on after whatever
 * failure: polling tells of those that last.
 */
export async function* hintsOf(
  { api, client, scope, resource, journal, since, asked }: Watching,
  signal: AbortSignal,
): AsyncGenerator<void> {
  let from: string | undefined;
  let isGap = false;
  let isCut = false;
  let wait = SHORTEST_WAIT;
  while (!signal.aborted) {
    let heard = false;
    try {
      if (from === undefined) {
        // What was listed is known. From anywhere else on, something may have been missed.
        const listed: string | undefined = isGap ? undefined : since();
        from = listed ?? (await api.now(scope, signal));
        isGap = listed === undefined && asked();
        journal.begin(from);
      }
      const seconds = Math.round(SHORTEST_WATCH * (1 + Math.random()));
      const how = { client, seconds, operation: "watch", content: true };
      const began = performance.now();
      const events = await api.watch(scope, from as string, how, signal);
      // What was listed since the cut may have been of the state before.
      if (isCut || isGap) journal.resume(from);
      isCut = false;
      if (isGap) yield;
      isGap = false;
      for await (const { type, resourceVersion, object } of events) {
        heard = true;
        from = resourceVersion;
        if (type === "bookmark") {
          journal.quiet(resourceVersion);
          continue;
        }
        // What a listing has shown since needs no other.
        const listed = since();
        const shown = listed !== undefined && !isOlder(listed, resourceVersion);
        const deleted = type === "deleted";
        journal.tell(objectOf(object, resource), { deleted, version: resourceVersion, shown });
        if (!shown) yield;
      }
      // The server was asked to end it then. Where it ends by itself, its state may be another now: an earlier one, restored.
      const lasted = performance.now() - began;
      isCut = lasted < (seconds - 1) * 1000;
      if (isCut) journal.resume(from as string);
    } catch (error) {
      if (signal.aborted) return;
      if (isGone(error)) {
        from = undefined;
        isGap = true;
      } else if (from !== undefined) {
        isCut = true;
        journal.resume(from);
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
