import { lstatSync, mkdtempSync, readdirSync, readlinkSync, rmSync, statSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect, onTestFinished, test } from "vitest";
import { holdObjects } from "./held.ts";

const MIB = 1 << 20;

function hold(most = Infinity) {
  const folder = mkdtempSync(join(tmpdir(), "pannier-held-"));
  const held = holdObjects(async () => folder, most);
  onTestFinished(() => {
    held.clear();
    rmSync(folder, { recursive: true });
  });
  return { held, folder };
}

const object = (name: string, content: Record<string, Buffer>, resourceVersion = "1") => ({
  namespace: "web",
  name,
  uid: `uid of ${name}`,
  resourceVersion,
  annotations: {},
  content: new Map(Object.entries(content)),
});

/** Of the file that this process has open, and that lost its name. */
function sizeWithoutName(folder: string): number {
  const links = readdirSync("/proc/self/fd").map((fd) => {
    const path = `/proc/self/fd/${fd}`;
    // That of the directory itself is closed by now.
    return { path, to: lstatSync(path, { throwIfNoEntry: false }) && readlinkSync(path) };
  });
  const open = links.find(({ to }) => to === `${folder}/objects (deleted)`);
  return open === undefined ? 0 : statSync(open.path).size;
}

test("holds more than fits into memory, and leaves no name of it on the disk", async () => {
  const { held, folder } = hold();
  const numbers = Array.from({ length: 64 }, (_, i) => i);
  for (const i of numbers) {
    const content = { big: Buffer.alloc(MIB, i), empty: Buffer.alloc(0) };
    await held.put(object(`${i}`, content));
  }
  expect(readdirSync(folder)).toEqual([]);
  // All but 8 MiB.
  expect(sizeWithoutName(folder)).toBeGreaterThan(55 * MIB);
  for (const i of numbers.toReversed()) {
    const found = held.get(`web/${i}`, "big");
    expect(found).toMatchObject({ uid: `uid of ${i}`, resourceVersion: "1" });
    expect(found?.content.equals(Buffer.alloc(MIB, i))).toBe(true);
    expect(held.get(`web/${i}`, "empty")?.content).toEqual(Buffer.alloc(0));
  }
});

test("has the latest of an object, and nothing after it was cleared", async () => {
  const { held } = hold();
  expect(held.get("web/a", "k")).toBeUndefined();
  await held.put(object("a", { k: Buffer.from("1") }));
  await held.put(object("a", { k: Buffer.from("2") }, "2"));
  expect(held.get("web/a", "k")).toMatchObject({ content: Buffer.from("2"), resourceVersion: "2" });
  held.clear();
  expect(held.get("web/a", "k")).toBeUndefined();
  await held.put(object("a", { k: Buffer.from("3") }));
  expect(held.get("web/a", "k")?.content).toEqual(Buffer.from("3"));
});

test("holds no more than is allowed", async () => {
  const { held } = hold(1030);
  await held.put(object("a", { k: Buffer.from("12345678") }));
  await held.put(object("b", { k: Buffer.from("12345678") }));
  expect(held.get("web/a", "k")).toBeDefined();
  expect(held.get("web/b", "k")).toBeUndefined();
});
