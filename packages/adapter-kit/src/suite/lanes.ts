/** What lanes read is what the source reads. */
import type { Entry, FileEntry, PartRange, Source } from "@pannier/core/adapter";
import { listAll } from "../open-source.ts";
import { openLaneReader } from "./lane-reader.ts";
import { type AllTraits, type Check, noise } from "./trial.ts";

/** Files of up to this size are what lanes are for, in bytes. */
const SMALL = 32 * 1024;

export function laneChecks(check: Check, traits: AllTraits): void {
  check("a lane reads content of any size and name exactly", async (t) => {
    const files = new Map<string, Buffer>();
    for (const size of [0, 1, 2, 4095, 4096, 4097, SMALL, 65_537, 300_001, 1_000_003])
      files.set(`size-${size}`, noise(size, size));
    for (const name of ["a b", "it's (a) file!", "100%", "+plus", "ü", "~", "a&b=c", "#1"])
      if (traits.holds(`names/${name}`)) files.set(`names/${name}`, noise(100 + name.length, 7));
    const { source } = await t.opened(files);

    const listed = filesOf(await listAll(source));
    const got = await readByLane(source, listed);
    if (got === undefined) return t.skip("the source has no lane");
    for (const { path } of listed) {
      const found = got.get(path);
      const content = files.get(path) as Buffer;
      // Larger ones may be left to the source.
      if (found !== undefined || content.length <= SMALL)
        t.expect(found?.equals(content), path).toBe(true);
    }
  });

  check("a lane never reads a later version under the name of a listed one", async (t) => {
    const before = new Map<string, Buffer>();
    for (let i = 0; i < 12; i++) before.set(`file-${i}`, noise(1000, i));
    const { source, store } = await t.opened(before);
    const listed = filesOf(await listAll(source));
    await t.change(store, {
      "file-3": noise(1000, 100),
      "file-5": noise(999, 101),
      "file-7": undefined,
    });
    const got = await readByLane(source, listed);
    if (got === undefined) return t.skip("the source has no lane");
    for (const [path, content] of got)
      t.expect(content.equals(before.get(path) as Buffer), path).toBe(true);
    t.expect(got.size).toBeGreaterThanOrEqual(9);
  });

  check("a lane reads parts of a file, and none of a later version", async (t) => {
    const size = 1_000_003;
    const content = noise(size, 1);
    const { source, store } = await t.opened(new Map([["large", content]]));
    const [entry] = filesOf(await listAll(source));
    const ranges: [offset: number, length: number][] = [
      [0, 1],
      [0, size],
      [1, 70_000],
      [size - 300_000, 300_000],
      [size - 1, 1],
    ];
    for (const [offset, length] of ranges) {
      const part = await readPartByLane(source, entry as FileEntry, { offset, length });
      if (part === undefined) return t.skip("the source has no lane that reads parts");
      t.expect(part.equals(content.subarray(offset, offset + length)), `${offset}`).toBe(true);
    }
    // Of what has a digest, the engine finds out.
    if (entry?.digest !== undefined) return;
    await t.change(store, { large: noise(size, 2) });
    const late = await readPartByLane(source, entry as FileEntry, { offset: 5, length: 70_000 });
    t.expect(late?.length === 0 || late?.equals(content.subarray(5, 70_005))).toBe(true);
  });
}

/** What its lane reads of entries. `undefined`: it has none. */
async function readByLane(
  source: Source,
  files: readonly FileEntry[],
): Promise<ReadonlyMap<string, Buffer> | undefined> {
  const lane = openLaneReader(source);
  const got = await lane.files(files, new AbortController().signal);
  await lane.close();
  return got;
}

/** The same for a part. */
async function readPartByLane(
  source: Source,
  entry: FileEntry,
  range: PartRange,
): Promise<Buffer | undefined> {
  const lane = openLaneReader(source);
  const part = await lane.part(entry, range, new AbortController().signal);
  await lane.close();
  return part;
}

function filesOf({ entries }: { readonly entries: ReadonlyMap<string, Entry> }): FileEntry[] {
  return [...entries.values()].filter((entry) => entry.kind === "file");
}
