/** What a layer holds, learned without its content. */
import { type ImageStore, readToc, tocRange } from "@pannier/oci";
import type { Layer } from "./image.ts";
import { destinationOf, fileRow, refusedRow, rowsOfToc } from "./members.ts";
import type { LayerTable } from "./table/table.ts";

/** Writes the rows of a layer that is a file, or that has a table of contents. */
export async function indexLayer(
  store: ImageStore,
  layer: Layer,
  root: string,
  known: LayerTable,
  signal: AbortSignal,
): Promise<void> {
  const { blob, title, whiteouts } = layer;
  const writer = known.write(layer);
  if (title !== undefined) {
    const destination = destinationOf(title, root, false);
    const sha256 = blob.digest.slice("sha256:".length);
    const facts = { size: blob.size, sha256, mode: undefined, mtime: undefined };
    if (destination.kind === "refused") writer.add(refusedRow(destination.path, destination.why));
    if (destination.kind === "member" && destination.path !== "")
      writer.add(fileRow(destination.path, facts));
  } else {
    const toc = tocRange(blob);
    if (toc === undefined) throw new Error("a layer without a table of contents");
    const { offset, length } = toc;
    const bytes: Uint8Array[] = [];
    for await (const chunk of await store.blob(blob, { offset, length }, "list", signal)) {
      bytes.push(Buffer.from(chunk));
    }
    const entries = await readToc(Buffer.concat(bytes), toc);
    signal.throwIfAborted();
    for (const row of rowsOfToc(entries, root, whiteouts).values()) writer.add(row);
  }
  writer.finish();
}
