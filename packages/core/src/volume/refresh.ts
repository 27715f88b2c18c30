/** What a sync learnt though nothing visible changed: new fingerprints of the same content, rows that lie under another layer. */
import { type Generation, type LayerRecord, updateGeneration } from "../state/generations.ts";
import { hasPlan, promotePlan } from "../state/plan.ts";
import { type State, transaction } from "../state/state.ts";

/** Takes the plan's rows over into the published generation. Writes nothing where nothing was learnt. */
export function refreshEntries(
  state: State,
  published: Generation,
  next: { readonly layers: readonly LayerRecord[]; readonly digest: string },
): void {
  if (!hasPlan(state) && JSON.stringify(next.layers) === JSON.stringify(published.layers)) return;
  transaction(state, () => {
    promotePlan(state, published.id);
    updateGeneration(state, published.id, next);
  });
}
