/** Lock files: what was published is what they say, or they say what was published. */
import { mkdir, mkdtemp, readdir, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { DatabaseSync } from "node:sqlite";
import { expect, onTestFinished, test } from "vitest";
import { follow, rollback, sync, type SyncOptions } from "../src/index.ts";
import { type Content, memorySource } from "./memory-source.ts";

interface LockFile {
  layers: { source: string; into: string; revision: string; digest: string }[];
}

async function setup(...contents: Content[]) {
  const work = await mkdtemp(join(tmpdir(), "pannier-lock-"));
  onTestFinished(() => rm(work, { recursive: true, force: true }));
  const memories = contents.map((content, index) => memorySource(content, `source${index}`));
  const lock = join(work, "pannier.lock");
  const run = (target: string, own: Partial<SyncOptions> = {}) =>
    sync({ sources: memories, target: join(work, target), lock, ...own });
  return {
    work,
    lock,
    memories,
    run,
    locked: (target: string, own: Partial<SyncOptions> = {}) =>
      run(target, { locked: true, ...own }),
    read: async () => JSON.parse(await readFile(lock, "utf8")) as LockFile,
    shown: (target: string, path: string) => readFile(join(work, target, "current", path), "utf8"),
  };
}

const mistake = (message: string) => ({
  exitCode: 2,
  message: expect.stringContaining(message),
});

const refused = (message: string) => ({ exitCode: 6, message: expect.stringContaining(message) });

test.each(["swap", "mirror"] as const)(
  "another target gets just what was locked (%s)",
  async (publish) => {
    const { memories, run, locked, read, lock, work } = await setup({ a: "1", b: { link: "a" } });
    const [memory] = memories as [ReturnType<typeof memorySource>];
    memory.revision = "r1";
    memory.token = "r1";
    await run("one", { publish });
    const { layers } = await read();
    expect(layers).toEqual([
      {
        source: expect.stringContaining("memory"),
        into: "",
        revision: "r1",
        digest: expect.stringMatching(/^sha256:[0-9a-f]{64}$/),
      },
    ]);
    const text = await readFile(lock, "utf8");
    expect(await locked("two", { publish })).toMatchObject({ result: "published" });
    expect(await locked("two", { publish })).toMatchObject({ result: "unchanged" });
    expect(await readFile(lock, "utf8")).toBe(text);
    // The source moved on: before anything is fetched.
    memory.content = { a: "2", b: { link: "a" } };
    memory.revision = "r2";
    memory.token = "r2";
    memory.reads.length = 0;
    await expect(locked("two", { publish })).rejects.toMatchObject(refused("is at r2"));
    await expect(locked("three", { publish })).rejects.toMatchObject(refused("is at r2"));
    expect(memory.reads).toEqual([]);
    // It says the same of itself, and holds something else.
    memory.revision = "r1";
    memory.token = "r1";
    await expect(locked("three", { publish })).rejects.toMatchObject(refused("other content"));
    expect(await readdir(join(work, "three"))).not.toContain("current");
    memory.content = { a: "1", b: { link: "./a" } };
    await expect(locked("three", { publish })).rejects.toMatchObject(refused("other content"));
    memory.content = { a: { text: "1", mode: 0o755 }, b: { link: "a" } };
    await expect(locked("three", { publish })).rejects.toMatchObject(refused("other content"));
    memory.content = { a: "1", b: { link: "a" } };
    expect(await locked("three", { publish })).toMatchObject({ result: "published" });
    expect(await readdir(work)).toEqual(["one", "pannier.lock", "three", "two"]);
  },
);

test("each publish writes the file; so does a sync that finds nothing new where there is none", async () => {
  const { memories, run, read, lock } = await setup({ a: "1" });
  await run("one");
  const first = await read();
  await rm(lock);
  expect(await run("one")).toMatchObject({ result: "unchanged" });
  expect(await read()).toEqual(first);
  Object.assign(memories[0] as object, { content: { a: "2" } });
  await run("one");
  expect((await read()).layers[0]?.digest).not.toBe(first.layers[0]?.digest);
  await run("one", { dryRun: true });
});

test("layers: each has what the tree shows of it, and its place", async () => {
  const { memories, run, locked, read } = await setup({ a: "1", b: "1" }, { a: "2" });
  await run("one");
  const before = await read();
  // What lies under another layer is not shown, and does not count.
  Object.assign(memories[0] as object, { content: { a: "other", b: "1" } });
  expect(await locked("two")).toMatchObject({ result: "published" });
  Object.assign(memories[1] as object, { content: {} });
  await expect(locked("two", { maxDelete: "100%" })).rejects.toMatchObject(
    refused("other content"),
  );
  await expect(locked("two", { sources: memories.toReversed() })).rejects.toMatchObject(
    refused("in the place of"),
  );
  await expect(locked("two", { sources: memories.slice(0, 1) })).rejects.toMatchObject(
    refused("has 2 sources, and there are 1"),
  );
  expect(await read()).toEqual(before);
});

test("what is published already is compared, too: also after a rollback", async () => {
  const { memories, run, locked, shown, work } = await setup({ a: "1" });
  const [memory] = memories as [ReturnType<typeof memorySource>];
  await run("one");
  memory.content = { a: "2" };
  await run("one");
  await locked("one");
  await rollback(join(work, "one"));
  await expect(locked("one")).rejects.toMatchObject(refused("other content"));
  expect(await shown("one", "a")).toBe("1");
});

test("what a state that was lost held is not taken for what is published since", async () => {
  const { work, lock, memories, locked } = await setup({ a: "1" });
  const [memory] = memories as [ReturnType<typeof memorySource>];
  const target = join(work, "one");
  const stop = new AbortController();
  let turns = 0;
  const turn = async (attempt: () => Promise<void>) => {
    if (++turns === 3) {
      const state = new DatabaseSync(join(target, ".pannier", "state.db"));
      state.exec("UPDATE generations SET layers = '{'");
      state.close();
      memory.content = { a: "2" };
    }
    memory.token = turns < 3 ? "r1" : "r2";
    await attempt();
  };
  const options = { sources: memories, target, lock, period: "5ms" };
  for await (const event of follow(options, { turn, signal: stop.signal })) {
    if (event.type === "failed") throw event.error;
    if (event.type === "done" && turns === 4) stop.abort();
  }
  expect(await locked("two")).toMatchObject({ result: "published" });
});

test("a file that cannot be read or written: nothing is published", async () => {
  const { locked, run, lock, work } = await setup({ a: "1" });
  await expect(locked("one")).rejects.toMatchObject(mistake("cannot be read (ENOENT)"));
  for (const text of ["", "{}", '{"version":1,"layers":[{}]}', '{"version":2,"layers":[]}']) {
    await writeFile(lock, text);
    await expect(locked("one")).rejects.toMatchObject(mistake("is not a lock file"));
  }
  await expect(run("one", { lock: join(work, "none/x.lock") })).rejects.toMatchObject(
    mistake("cannot be written (ENOENT)"),
  );
  await mkdir(join(work, "dir"));
  await expect(run("one", { lock: join(work, "dir") })).rejects.toMatchObject(
    mistake("is a directory"),
  );
  await expect(run("one", { lock: undefined, locked: true })).rejects.toMatchObject(
    mistake("no lock file to go by"),
  );
  expect(await readdir(join(work, "one"))).not.toContain("current");
});
