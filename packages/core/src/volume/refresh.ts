/** What a sync learnt though nothing visible changed: new fingerprints of the same content, rows that lie under another layer. */
import { type Generation, type LayerRecord, updateGeneration } from "../state/generations.ts";
import { takeOver } from "./publish.ts";
import { type State, transaction } from "../state/state.ts";

/** Takes the plan's rows over into the published generation. Writes nothing where nothing was learnt. */
export function refreshEntries(
  state: State,
  published: Generation,
  next: { readonly layers: readonly LayerRecord[]; readonly digest: string },
): void {
  const planned = state.sql("SELECT 1 FROM plan LIMIT 1").get() !== undefined;
  if (!planned && JSON.stringify(next.layers) === JSON.stringify(published.layers)) return;
  transaction(state, () => {
    takeOver(state, published.id);
    updateGeneration(state, published.id, next);
  });
}
