import { expect, test } from "vitest";
import { createJournal, MOST_BYTES } from "./journal.ts";
import type { Layout } from "./objects.ts";

const LAYOUT: Layout = { resource: "configmaps", layout: "keys", annotations: [], root: undefined };

const object = (name: string, version: string, content: Buffer | string = version) => ({
  namespace: "web",
  name,
  uid: `uid of ${name}`,
  resourceVersion: version,
  annotations: {},
  content: new Map([[`key-${name}`, Buffer.from(content)]]),
});

function begun(version: string) {
  const journal = createJournal(LAYOUT, MOST_BYTES);
  journal.begin(version);
  return {
    journal,
    put: (name: string, at: string, content?: Buffer) =>
      journal.tell(object(name, at, content), { deleted: false, version: at, shown: false }),
    remove: (name: string, at: string) =>
      journal.tell(object(name, at), { deleted: true, version: at, shown: false }),
    told: (from: string, until: string, era = journal.era) => {
      const changes = journal.changes(from, until, era);
      return changes && [[...changes.objects.keys()].toSorted(), changes.until];
    },
  };
}

test("tells the last of each object after a version, and nothing before the watch began", () => {
  const { journal, put, remove, told } = begun("10");
  put("a", "11");
  put("b", "12");
  put("a", "20");
  expect(told("10", "20")).toEqual([["web/a", "web/b"], "20"]);
  expect(told("12", "12")).toEqual([["web/a"], "20"]);
  expect(told("20", "20")).toEqual([[], "20"]);
  expect(told("9", "20")).toBeUndefined();
  // Somebody else knows of more.
  expect(told("10", "21")).toBeUndefined();
  remove("b", "22");
  const changes = journal.changes("10", "22", 0);
  expect(changes?.objects.get("web/b")).toMatchObject({ deleted: true });
  expect(changes?.objects.get("web/b")?.entries()).toEqual([]);
  expect(changes?.objects.get("web/a")?.entries()).toMatchObject([{ path: "key-a", size: 2 }]);
});

test("knows until when nothing happened", () => {
  const { journal, put } = begun("10");
  const quietSince = (version: string) => journal.quietSince(version, 0);
  expect(quietSince("10")).toBeUndefined();
  journal.quiet("15");
  expect(quietSince("10")).toBe("15");
  expect(quietSince("9")).toBeUndefined();
  put("a", "16");
  journal.quiet("17");
  expect([quietSince("10"), quietSince("16")]).toEqual([undefined, "17"]);
  expect(journal.last).toBe("16");
});

test("is sure of nothing where versions go back, and after another beginning", () => {
  const { journal, put, told } = begun("100");
  put("a", "110");
  put("b", "105");
  expect(told("100", "105")).toBeUndefined();
  put("c", "106");
  expect(told("105", "106")).toEqual([["web/c"], "106"]);
  journal.quiet("50");
  expect(told("105", "50")).toBeUndefined();
  put("d", "51");
  expect(told("50", "51")).toEqual([["web/d"], "51"]);
  journal.begin("51");
  expect(told("50", "51")).toBeUndefined();
  expect([told("51", "51"), journal.last]).toEqual([[[], "51"], undefined]);
});

test("a watch that was cut is sure of what comes after the next listing, whatever one before said", () => {
  const { journal, put, told } = begun("10");
  put("a", "11");
  // One was begun before, and was ahead of the watch.
  const { era } = journal;
  journal.resume("11");
  put("b", "12");
  put("c", "15");
  for (const version of ["10", "11", "12", "14"]) expect(told(version, "15", era)).toBeUndefined();
  expect(journal.quietSince("15", era)).toBeUndefined();
  journal.quiet("16");
  expect([journal.quietSince("15", era), journal.quietSince("15", journal.era)]).toEqual([
    undefined,
    "16",
  ]);
  journal.forget("14");
  expect(told("14", "15", era)).toBeUndefined();
  expect(told("14", "15")).toEqual([["web/c"], "16"]);
});

test("forgets what was published after a cut", () => {
  const { journal, put, told } = begun("10");
  journal.resume("11");
  put("b", "12");
  journal.forget("12");
  put("c", "13");
  expect(told("12", "13")).toEqual([["web/c"], "13"]);
});

test("forgets what is published or listed", () => {
  const { journal, put, told } = begun("10");
  put("a", "11");
  put("b", "12");
  journal.forget("11");
  expect(told("10", "12")).toBeUndefined();
  expect(told("11", "12")).toEqual([["web/b"], "12"]);
  // A listing was ahead of the watch.
  journal.forget("15");
  journal.tell(object("c", "14"), { deleted: false, version: "14", shown: true });
  expect(told("12", "14")).toBeUndefined();
  put("d", "16");
  expect(told("14", "16")).toBeUndefined();
  expect(told("15", "16")).toEqual([["web/d"], "16"]);
});

test("tells too much by a listing, and keeps content as far as there is room", () => {
  const { journal, put, told } = begun("0");
  for (let i = 1; i <= 1000; i++) put(`map-${i}`, String(i));
  expect(journal.changes("0", "1000", 0)?.objects.size).toBe(1000);
  put("map-7", "1001");
  expect(journal.changes("0", "1001", 0)?.objects.size).toBe(1000);
  put("one-more", "1002");
  expect([told("0", "1002"), told("1002", "1002")]).toEqual([undefined, [[], "1002"]]);

  const large = Buffer.alloc(3 << 20);
  put("large", "1003", large);
  put("larger", "1004", large);
  expect(journal.get("web/large")?.content.get("key-large")?.equals(large)).toBe(true);
  expect(journal.get("web/larger")).toBeUndefined();
  expect(journal.changes("1002", "1004", 0)?.objects.get("web/larger")?.entries()).toMatchObject([
    { path: "key-larger", size: 3 << 20 },
  ]);
  journal.forget("1003");
  put("larger", "1005", large);
  expect(journal.get("web/larger")).toBeDefined();
});

test("holds no more files than a listing is worth, however many an object has", () => {
  const { journal, put, told } = begun("0");
  const many = (name: string, version: string, count: number) =>
    journal.tell(
      {
        ...object(name, version),
        content: new Map(
          Array.from({ length: count }, (_, i) => [`${name}-${i}`, Buffer.alloc(1)]),
        ),
      },
      { deleted: false, version, shown: false },
    );
  many("a", "1", 9000);
  many("a", "2", 9500);
  expect(told("0", "2")).toEqual([["web/a"], "2"]);
  many("b", "3", 501);
  expect([told("0", "3"), told("3", "3")]).toEqual([undefined, [[], "3"]]);
  put("c", "4");
  many("d", "5", 9999);
  expect(told("3", "5")).toEqual([["web/c", "web/d"], "5"]);
});
