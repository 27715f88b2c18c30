import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type Change, type Entry, type Scope, SourceError } from "@pannier/core/adapter";
import * as fc from "fast-check";
import { expect, onTestFinished, test } from "vitest";
import type { Layer } from "../image.ts";
import { fileRow, markRow, refusedRow } from "../members.ts";
import type { Row } from "./rows.ts";
import { type LayerTable, openLayerTable } from "./table.ts";

function open(): LayerTable {
  const directory = mkdtempSync(join(tmpdir(), "pannier-table-"));
  const table = openLayerTable(join(directory, "layers.db"), "");
  onTestFinished(() => {
    table.close();
    rmSync(directory, { recursive: true });
  });
  return table;
}

const layer = (key: string): Layer => ({
  key,
  blob: { mediaType: "", digest: "", size: 0, annotations: {} },
  title: undefined,
  whiteouts: true,
});

/** Names that sort on either side of `/`. */
const name = fc.constantFrom("a", "a-", "a0", "b");
const path = fc.array(name, { minLength: 1, maxLength: 3 }).map((names) => names.join("/"));
const row = fc.tuple(
  path,
  fc.constantFrom("file", "file", "file", "dir", "whiteout", "opaque", "refused"),
  fc.integer({ min: 0, max: 2 }),
);
/** Below these of a layer lies nothing in it. */
const LEAVES = ["file", "whiteout", "refused"];
/** Within a layer, nothing lies below a file or a whiteout, and each path is there once. */
const rows = fc.array(row, { maxLength: 8 }).map((list) => {
  const kept = new Map<string, readonly [string, string, number]>();
  for (const item of list) {
    const [at, kind] = item;
    const clashes = [...kept.values()].some(
      ([other, otherKind]) =>
        other === at ||
        (at.startsWith(`${other}/`) && LEAVES.includes(otherKind)) ||
        (other.startsWith(`${at}/`) && LEAVES.includes(kind)),
    );
    if (!clashes) kept.set(at, item);
  }
  return [...kept.values()];
});

const digest = (content: number) => String(content).repeat(64);

const REFUSED = new SourceError("invalid", "a device");

function toRow([at, kind, content]: readonly [string, string, number]): Row {
  if (kind === "refused") return refusedRow(at, REFUSED);
  return kind === "file"
    ? fileRow(at, { size: 1, sha256: digest(content), mode: 0o644, mtime: 0 })
    : markRow(kind as "dir", at);
}

/** The same by doing it: each layer over what there is. */
function apply(layers: readonly (readonly (readonly [string, string, number])[])[]) {
  const tree = new Map<string, string>();
  const removeBelow = (at: string) => {
    for (const key of tree.keys()) if (key.startsWith(`${at}/`)) tree.delete(key);
  };
  for (const list of layers) {
    for (const [at, kind] of list) {
      if (kind === "whiteout") tree.delete(at);
      if (kind === "whiteout" || kind === "opaque") removeBelow(at);
    }
    for (const [at, kind, content] of list) {
      // What is named in a directory says that it is one.
      for (let end = at.indexOf("/"); end !== -1; end = at.indexOf("/", end + 1)) {
        tree.delete(at.slice(0, end));
      }
      if (kind === "whiteout") continue;
      tree.delete(at);
      if (kind !== "file" && kind !== "refused") continue;
      removeBelow(at);
      tree.set(at, kind === "file" ? `sha256:${digest(content)}` : kind);
    }
  }
  return tree;
}

const sorted = (tree: ReadonlyMap<string, string>) =>
  [...tree].toSorted(([a], [b]) => (Buffer.compare(Buffer.from(a), Buffer.from(b)) < 0 ? -1 : 1));

const below = (tree: ReadonlyMap<string, string>, root: string) =>
  new Map(
    [...tree]
      .filter(([at]) => root === "" || at.startsWith(`${root}/`))
      .map(([at, content]) => [root === "" ? at : at.slice(root.length + 1), content]),
  );

/** Where what cannot be published is not wanted. */
const without = (tree: ReadonlyMap<string, string>) =>
  new Map([...tree].filter(([, content]) => content !== "refused"));

/** A scope that leaves out these. */
const leavingOut = (paths: Iterable<string>): Scope => {
  const left = new Set(paths);
  return {
    filters: true,
    wants: (at) => !left.has(at),
    enters: () => true,
    ignoreFile: async () => {},
  };
};

async function shown(table: LayerTable, layers: readonly Layer[], root: string, scope?: Scope) {
  const tree = new Map<string, string>();
  try {
    for await (const batch of table.entries(layers, root, scope)) {
      for (const entry of batch)
        tree.set(entry.path, (entry as Entry & { fingerprint: string }).fingerprint);
    }
  } catch (error) {
    if ((error as { code?: string }).code !== "not-found") throw error;
  }
  return tree;
}

test("an image shows what its layers make one over the other, and the changes between two are the difference", async () => {
  const table = open();
  let layers = 0;
  await fc.assert(
    fc.asyncProperty(
      fc.array(rows, { minLength: 1, maxLength: 5 }),
      fc.infiniteStream(fc.boolean()),
      fc.constantFrom("", "a", "a/a"),
      async (lists, choices, root) => {
        const made = lists.map((list) => {
          const one = layer(`layer ${++layers}`);
          const writer = table.write(one);
          for (const item of list) writer.add(toRow(item));
          writer.finish();
          return one;
        });
        const pick = () => made.map((_, index) => index).filter(() => choices.next().value);
        const trees = [pick(), pick()].map((indexes) => ({
          layers: indexes.map((index) => made[index] as Layer),
          tree: below(apply(indexes.map((index) => lists[index] as (typeof lists)[0])), root),
        }));
        const [from, to] = trees as [(typeof trees)[0], (typeof trees)[0]];
        const refused = [from, to].map(
          ({ tree }) => new Set([...tree.keys()].filter((at) => tree.get(at) === "refused")),
        );
        for (const [index, { layers: own, tree }] of trees.entries()) {
          const scope = leavingOut(refused[index] as Set<string>);
          expect([...(await shown(table, own, root, scope))]).toEqual(sorted(without(tree)));
          const all = await shown(table, own, root).catch((error: Error) => error.message);
          const wanted = refused[index]?.size === 0 ? sorted(tree) : REFUSED.message;
          expect(typeof all === "string" ? all : [...all]).toEqual(wanted);
          const first = sorted(tree)[0]?.[0] ?? "a";
          const found = table.entry(first, own, root) as { fingerprint?: string } | undefined;
          expect(found?.fingerprint).toEqual(without(tree).get(first));
        }

        const changed = without(from.tree);
        const scope = leavingOut(refused[1] as Set<string>);
        const delta = await table.compare(from.layers, to.layers, root, scope);
        const seen = new Set<string>();
        for await (const batch of delta as AsyncGenerator<readonly Change[]>) {
          for (const change of batch) {
            const at = change.kind === "put" ? change.entry.path : change.path;
            expect(seen.has(at), "each path once").toBe(false);
            seen.add(at);
            const gone = change.kind === "delete" && changed.delete(at);
            expect(gone, "what is deleted was there").toBe(change.kind === "delete");
            if (change.kind === "put")
              changed.set(at, (change.entry as Entry & { fingerprint: string }).fingerprint);
          }
        }
        expect(sorted(changed)).toEqual(sorted(without(to.tree)));
      },
    ),
    { numRuns: 300 },
  );
});

test("layers that change places are no difference that can be told", async () => {
  const table = open();
  const [a, b] = [layer("a"), layer("b")] as const;
  for (const one of [a, b]) {
    const writer = table.write(one);
    writer.add(toRow(["file", "file", one === a ? 1 : 2]));
    writer.finish();
  }
  expect(await table.compare([a, b], [b, a], "")).toBeUndefined();
});

test("more than a batch comes in order, and what no image needs any more goes", async () => {
  const table = open();
  const [one, two] = [layer("one"), layer("two")] as const;
  for (const [index, made] of [one, two].entries()) {
    const writer = table.write(made);
    for (let i = 0; i < 2300; i++) writer.add(toRow([`dir-${i % 7}/file-${i}`, "file", index]));
    writer.finish();
  }
  const tree = await shown(table, [one, two], "");
  expect([...tree.keys()]).toEqual(sorted(tree).map(([at]) => at));
  expect(tree.size).toBe(2300);
  expect(new Set(tree.values())).toEqual(new Set([`sha256:${digest(1)}`]));
  table.remember("sha256:old", [one, two]);
  table.remember("sha256:new", [two]);
  await table.keepOnly("sha256:new");
  expect([table.has(one), table.has(two)]).toEqual([false, true]);
  expect(table.image("sha256:old")).toBeUndefined();
  expect((await shown(table, [two], "")).size).toBe(2300);
});
