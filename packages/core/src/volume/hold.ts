/** After a rollback: the state of the sources that was rolled back from, which must not come back by itself. */
import { getMeta, setMeta, type State } from "./state.ts";

interface Held {
  readonly tokens: readonly (string | null)[];
  readonly digest: string;
}

/** @param held `undefined`: nothing is held back any more */
export function hold(state: State, held: Held | undefined): void {
  setMeta(state, "held", held === undefined ? undefined : JSON.stringify(held));
}

export function heldBack(state: State): Held | undefined {
  const text = getMeta(state, "held");
  return text === undefined ? undefined : (JSON.parse(text) as Held);
}

/** Whether the sources are still as they were when somebody rolled back. */
export function isHeldBack(state: State, now: Partial<Held>): boolean {
  const held = heldBack(state);
  if (held === undefined) return false;
  if (now.digest !== undefined) return now.digest === held.digest;
  return (
    now.tokens !== undefined &&
    now.tokens.length === held.tokens.length &&
    now.tokens.every((token, index) => token !== null && token === held.tokens[index])
  );
}
