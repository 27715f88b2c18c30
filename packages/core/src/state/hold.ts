/** After a rollback: the state of the sources that is held back, which must not come back by itself. */
import { getMeta, type Held, setMeta, type SourcesState } from "./meta.ts";
import type { State } from "./state.ts";

export type { Held, SourcesState };

/** @param held `undefined`: nothing is held back any more */
export function setRollbackHold(state: State, held: Held | undefined): void {
  setMeta(state, "held", held);
}

export function rollbackHold(state: State): Held | undefined {
  return getMeta(state, "held");
}

/** Whether the sources are still as they were when somebody rolled back. */
export function isStillRolledBack(state: State, now: SourcesState): boolean {
  const held = rollbackHold(state);
  if (held === undefined) return false;
  if (held === "next") return now.digest !== undefined || tellAll(now);
  return isSameState(held, now);
}

export function isSameState(one: SourcesState, other: SourcesState): boolean {
  if (one.digest !== undefined && one.digest === other.digest) return true;
  if (one.urls !== undefined && other.urls !== undefined && !isSameList(one.urls, other.urls))
    return false;
  if (!isUnderSameSettings(one.settings, other.settings)) return false;
  return tellAll(one) && isSameList(one.tokens, other.tokens);
}

/** With other filters the same token means another tree. */
function isUnderSameSettings(
  one: SourcesState["settings"],
  other: SourcesState["settings"],
): boolean {
  if (one === undefined || other === undefined) return true;
  return one.every((known, index) => {
    const now = other[index] ?? [];
    return known.length === 0 || now.length === 0 || known.some((digest) => now.includes(digest));
  });
}

function isSameList<Item>(one: readonly Item[], other: readonly Item[]): boolean {
  return one.length === other.length && one.every((item, index) => item === other[index]);
}

/** Which sources these are, and where in the tree they go; without secrets. */
export function urlsOf(
  layers: readonly { readonly url: string; readonly into: string }[],
): string[] {
  return layers.map(({ url, into }) => `${url} ${into}`);
}

/** Whether every source tells by a token whether it changed. */
export function tellAll({ tokens }: SourcesState): boolean {
  return tokens.length > 0 && tokens.every((token) => token !== null);
}
