/** What a sync learnt though nothing visible changed: new fingerprints of the same content, rows that lie under another layer. */
import type { Generation, LayerRecord, State } from "./state.ts";
import { transaction } from "./state.ts";

/** Takes the plan's rows over into the published generation. Writes nothing where nothing was learnt. */
export function refreshEntries(
  state: State,
  published: Generation,
  next: { readonly layers: readonly LayerRecord[]; readonly digest: string },
): void {
  const layers = JSON.stringify(next.layers);
  const planned = state.sql("SELECT 1 FROM plan LIMIT 1").get() !== undefined;
  if (!planned && layers === JSON.stringify(published.layers)) return;
  transaction(state, () => {
    state.db.exec(
      "DELETE FROM entries WHERE until IS NULL AND (path, layer) IN (SELECT path, layer FROM plan WHERE put = 0)",
    );
    state
      .sql(
        `INSERT OR REPLACE INTO entries (path, layer, since, until, kind, size, mode, mtime, fingerprint, ref, sha256, ino, disk_mtime)
         SELECT path, layer, coalesce((SELECT since FROM entries WHERE entries.path = plan.path AND entries.layer = plan.layer AND until IS NULL), ?), NULL,
           kind, size, mode, mtime, fingerprint, ref, sha256, ino, disk_mtime FROM plan WHERE put = 1`,
      )
      .run(published.id);
    state
      .sql("UPDATE generations SET layers = ?, digest = ? WHERE id = ?")
      .run(layers, next.digest, published.id);
    state.db.exec("DELETE FROM plan");
  });
}
