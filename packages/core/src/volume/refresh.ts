/** What a sync learnt though nothing visible changed: new fingerprints of the same content, rows that lie under another layer. */
import { type Generation, type LayerRecord, updateGeneration } from "../state/generations.ts";
import type { Pause } from "../timing/slices.ts";
import { hasPlan } from "../state/plan.ts";
import { promotePlan } from "../state/promote.ts";
import { longTransaction, type State } from "../state/state.ts";

/** Takes the plan's rows over into the published generation. Writes nothing where nothing was learnt. */
export async function refreshEntries(
  state: State,
  published: Generation,
  next: { readonly layers: readonly LayerRecord[]; readonly digest: string },
  pause: Pause,
): Promise<void> {
  if (!hasPlan(state) && JSON.stringify(next.layers) === JSON.stringify(published.layers)) return;
  await longTransaction(state, async () => {
    await promotePlan(state, published.id, { deltas: false }, pause);
    updateGeneration(state, published.id, next);
  });
}
