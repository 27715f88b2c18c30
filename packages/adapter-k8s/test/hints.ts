/** What a source's watch hints at, counted until the test is over. */
import type { Source } from "@pannier/core/adapter";
import { onTestFinished } from "vitest";

/** @returns the hints so far */
export function countHints(source: Source): () => number {
  const stop = new AbortController();
  let hints = 0;
  const watching = (async () => {
    for await (const _ of source.watch?.(stop.signal) ?? []) hints++;
  })();
  onTestFinished(async () => {
    stop.abort();
    await watching;
  });
  return () => hints;
}
