/** What a layer holds, learned without unpacking it. */
import type { createMeter } from "@pannier/archive";
import { type ImageStore, readToc, type TocEntry, type TocRange, tocRange } from "@pannier/oci";
import { isAsPushed } from "./as-pushed.ts";
import type { HeldLayers } from "./held.ts";
import type { Layer } from "./image.ts";
import { destinationOf, fileRow, refusedRow, rowsOfToc } from "./members.ts";
import type { LayerTable } from "./table/table.ts";

/** Writes the rows of a layer that is a file, or that has a table of contents, which is asked for. */
export async function indexLayer(
  store: ImageStore,
  layer: Layer,
  root: string,
  known: LayerTable,
  signal: AbortSignal,
): Promise<void> {
  const { blob, title } = layer;
  if (title === undefined) {
    const toc = tocOf(layer);
    const entries = await readTable(await store.blob(blob, toc, "list", signal), toc);
    signal.throwIfAborted();
    return writeRows(layer, entries, root, known);
  }
  const writer = known.write(layer);
  const destination = destinationOf(title, root, false);
  const sha256 = blob.digest.slice("sha256:".length);
  const facts = { size: blob.size, sha256, mode: undefined, mtime: undefined };
  if (destination.kind === "refused") writer.add(refusedRow(destination.path, destination.why));
  if (destination.kind === "member" && destination.path !== "")
    writer.add(fileRow(destination.path, facts));
  writer.finish();
}

/**
 * Writes the rows of a layer that lies on this machine as it came.
 *
 * @param meter counts what all of them hold
 * @returns false where nothing was written, as only unpacking tells whether the layer holds what its table says
 */
export async function indexHeldLayer(
  held: HeldLayers,
  layer: Layer,
  root: string,
  known: LayerTable,
  meter: ReturnType<typeof createMeter>,
  signal: AbortSignal,
): Promise<boolean> {
  const toc = tocOf(layer);
  const entries = await readTable(await held.read(layer, toc, signal), toc);
  const path = held.path(layer.key) as string;
  if (!(await isAsPushed(path, layer.blob.size, toc, entries, signal))) return false;
  for (const { size, name } of entries) {
    meter.count();
    // The engine refuses what is larger than a file may be, where it is wanted.
    if (meter.tooLarge(size, name) === undefined) meter.measure(size, name);
  }
  signal.throwIfAborted();
  writeRows(layer, entries, root, known);
  return true;
}

function tocOf({ blob }: Layer): TocRange {
  const toc = tocRange(blob);
  if (toc === undefined) throw new Error("a layer without a table of contents");
  return toc;
}

async function readTable(body: AsyncIterable<Uint8Array>, toc: TocRange): Promise<TocEntry[]> {
  const bytes: Uint8Array[] = [];
  for await (const chunk of body) bytes.push(Buffer.from(chunk));
  return readToc(Buffer.concat(bytes), toc);
}

function writeRows(
  layer: Layer,
  entries: readonly TocEntry[],
  root: string,
  known: LayerTable,
): void {
  const writer = known.write(layer);
  for (const row of rowsOfToc(entries, root, layer.whiteouts).values()) writer.add(row);
  writer.finish();
}
