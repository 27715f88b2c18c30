/** What the engine makes of a source that has to be signed, whatever kind of signature it bears. */
import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect, onTestFinished, test } from "vitest";
import {
  type CheckedSignature,
  history,
  type LayerSpec,
  rollback,
  type SourceSpec,
  sync,
  type SyncOptions,
} from "../src/index.ts";
import { type MemorySource, memorySource } from "./memory-source.ts";

const KEY = `RW${"A".repeat(54)}`;
const GOOD: CheckedSignature = { kind: "minisign", of: "file", key: "0123456789ABCDEF" };

/** A source that can be checked for signatures of minisign, and says of itself what it bears. */
function signable(source: MemorySource, signature: () => CheckedSignature | undefined): SourceSpec {
  const { adapter } = source;
  return {
    ...source,
    adapter: {
      ...adapter,
      signatures: ["minisign"],
      async open(location, options, context) {
        const opened = await adapter.open(location, options, context);
        return {
          ...opened,
          list: async (...args) => ({ ...(await opened.list(...args)), signature: signature() }),
        };
      },
    },
  };
}

async function workDirectory(): Promise<string> {
  const work = await mkdtemp(join(tmpdir(), "pannier-signed-"));
  onTestFinished(() => rm(work, { recursive: true, force: true }));
  return work;
}

const errorOf = (options: SyncOptions) =>
  sync(options).then(
    () => expect.unreachable("it was published"),
    (error: unknown) => error,
  );

test("a source that cannot be checked, and a signer that is of no use, are mistakes", async () => {
  const target = join(await workDirectory(), "target");
  const plain = memorySource({ a: "1" });
  const able = signable(plain, () => GOOD);
  const cases: [sources: (SourceSpec | LayerSpec)[], signedBy: string[], message: string][] = [
    [[plain], [`minisign:${KEY}`], "a memory source cannot be checked for a signature by minisign"],
    [[able], ["ssh:/keys"], "a memory source cannot be checked for a signature by ssh:/keys"],
    [[able, plain], [`minisign:${KEY}`], "a memory source cannot be checked"],
    [[able], [`minisign:${KEY}`, "ssh:/keys"], "no source can be checked for a signature by ssh"],
    [[{ source: plain, signedBy: ["ssh:/keys"] }], [], "a memory source cannot be checked"],
    [[able], ["sssh:/keys"], '"sssh:/keys" names no signer'],
    [[able], ["/keys"], '"/keys" names no signer'],
    [[able], ["ssh:"], '"ssh:" names no file'],
  ];
  for (const [sources, signedBy, message] of cases)
    expect(await errorOf({ sources, target, signedBy })).toMatchObject({
      exitCode: 2,
      message: expect.stringContaining(message),
    });
  expect(plain.lists).toBe(0);
});

test("a listing that says nothing of a signature is refused before any of it is taken", async () => {
  const target = join(await workDirectory(), "target");
  let signature: CheckedSignature | undefined;
  const source = signable(memorySource({ a: "1" }), () => signature);
  const options = { sources: [source], target, signedBy: [`minisign:${KEY}`] };
  expect(await errorOf(options)).toMatchObject({
    exitCode: 6,
    message: "it was listed without its signature being checked",
  });
  signature = GOOD;
  expect(await sync(options)).toMatchObject({ result: "published" });
  expect(history(target)[0]?.sources[0]).toMatchObject({ signature: GOOD });
});

test("each layer by its own signers, or else by the mount's", async () => {
  const target = join(await workDirectory(), "target");
  const [one, two] = [memorySource({ a: "1" }), memorySource({ b: "2" })];
  const sources = [{ source: signable(one, () => GOOD), signedBy: [`minisign:${KEY}`] }, two];
  expect(await sync({ sources, target })).toMatchObject({ result: "published" });
  const [first, second] = history(target)[0]?.sources ?? [];
  expect([first?.signature, second?.signature]).toEqual([GOOD, undefined]);
});

test("what is trusted changed: a source that says that it did not change is listed again", async () => {
  const work = await workDirectory();
  const [target, keys] = [join(work, "target"), join(work, "keys")];
  await writeFile(keys, "one");
  const memory = memorySource({ a: "1" });
  memory.token = "1";
  const source = signable(memory, () => GOOD);
  const options = { sources: [source], target, signedBy: [`minisign:${keys}`] };
  await sync(options);
  await sync(options);
  expect(memory.lists).toBe(1);
  await writeFile(keys, "two");
  expect(await sync(options)).toMatchObject({ result: "unchanged" });
  expect(memory.lists).toBe(2);
  await sync(options);
  expect(memory.lists).toBe(2);
});

test("what was rolled back to does not stay unless it was checked once", async () => {
  const target = join(await workDirectory(), "target");
  const memory = memorySource({ a: "1" });
  const source = signable(memory, () => GOOD);
  memory.token = "1";
  await sync({ sources: [source], target });
  memory.content = { a: "2" };
  memory.token = "2";
  const options = { sources: [source], target, signedBy: [`minisign:${KEY}`] };
  await sync(options);
  await rollback(target);
  expect(await errorOf(options)).toMatchObject({
    exitCode: 6,
    message: expect.stringContaining("published without a check for a signature"),
  });
  expect(await readFile(join(target, "current/a"), "utf8")).toBe("1");
  memory.content = { a: "3" };
  memory.token = "3";
  await sync(options);
  memory.content = { a: "4" };
  memory.token = "4";
  await sync(options);
  await rollback(target);
  expect(await sync(options)).toMatchObject({ result: "unchanged" });
});
