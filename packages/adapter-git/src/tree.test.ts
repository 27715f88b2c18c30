import { createHash } from "node:crypto";
import { expect, test } from "vitest";
import type { ObjectStore } from "./store/store.ts";
import { diffTrees, findInTree, walkTree } from "./tree.ts";

/** Trees in memory; names are bytes as Latin-1. */
function trees() {
  const objects = new Map<string, Buffer>();
  const add = (items: Record<string, string>): string => {
    const data = Buffer.concat(
      Object.entries(items).flatMap(([name, oid]) => {
        const mode = objects.has(oid) ? "40000" : "100644";
        return [Buffer.from(`${mode} ${name}\0`, "latin1"), Buffer.from(oid, "hex")];
      }),
    );
    const oid = createHash("sha1").update(data).digest("hex");
    objects.set(oid, data);
    return oid;
  };
  const store = {
    read: async (oid: string) => {
      const data = objects.get(oid);
      return data === undefined ? undefined : { type: "tree", data };
    },
  } as unknown as ObjectStore;
  return { add, store };
}

const [ONE, TWO] = ["1".repeat(40), "2".repeat(40)];

test("names that are not UTF-8 are told as such, by what of them can be read, and are nobody else's", async () => {
  const { add, store } = trees();
  const below = add({ x: ONE });
  const same = { "caf\u00ef\u00bf\u00bd": ONE };
  const before = add({ "caf\u00e8": ONE, "caf\u00e9": below, "caf\u00ea": ONE, ...same });
  const after = add({ "caf\u00e8": TWO, "caf\u00e9": below, ...same, new: ONE });
  const walked = [];
  for await (const items of walkTree(store, after)) walked.push(...items);
  expect(walked.map(({ path, failure }) => [path, failure?.code])).toEqual([
    ["caf\ufffd", "invalid"],
    ["caf\ufffd/x", "invalid"],
    ["caf\ufffd", undefined],
    ["new", undefined],
  ]);
  const changes = [];
  for await (const change of diffTrees(store, before, after)) changes.push(change);
  expect(changes).toMatchObject([
    { path: "caf\ufffd", before: undefined, after: { oid: TWO, failure: { code: "invalid" } } },
    { path: "caf\ufffd/x", before: undefined, after: { oid: ONE, failure: { code: "invalid" } } },
    { path: "new", before: undefined, after: { oid: ONE, failure: undefined } },
  ]);
  expect(await findInTree(store, after, "caf\ufffd")).toMatchObject({ oid: ONE });
});
