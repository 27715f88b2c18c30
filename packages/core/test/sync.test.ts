import {
  existsSync,
  lstatSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  rmSync,
  statSync,
  unlinkSync,
  writeFileSync,
  mkdirSync,
  symlinkSync,
  renameSync,
  appendFileSync,
} from "node:fs";
import { EventEmitter, on } from "node:events";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { DatabaseSync } from "node:sqlite";
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import {
  follow,
  history,
  plan,
  repair,
  rollback,
  SourceError,
  status,
  sync,
  type SyncEvent,
  type SyncOptions,
  verify,
} from "../src/index.ts";
import { memorySource } from "./memory-source.ts";
import { litterOf, readTree } from "./trees.ts";

let target: string;

beforeEach(() => {
  target = mkdtempSync(join(tmpdir(), "pannier-test-"));
});

afterEach(() => {
  rmSync(target, { recursive: true, force: true });
});

const current = () => readTree(join(target, "current"));
const run = (source: ReturnType<typeof memorySource>, options: Partial<SyncOptions> = {}) =>
  sync({ sources: [source], target, ...options });

const litter = () => litterOf(target);

const named = (count: number, name: string) =>
  Object.fromEntries(Array.from({ length: count }, (_, i) => [`${name}${i}`, "x"]));

describe("a source is told that what it listed is published", () => {
  it("after the publish, and where nothing visible changed; not where nothing was listed", async () => {
    const source = memorySource({ a: "1" });
    const told: (string | undefined)[] = [];
    source.onPublished = () => void told.push(current()["a"]?.toString());
    source.token = "1";
    await run(source);
    await run(source);
    expect(told).toEqual([current()["a"]?.toString()]);
    source.content = { a: { text: "1", mtime: 5, fingerprint: "another" } };
    source.token = "2";
    await run(source);
    source.content = { a: "2" };
    source.token = "3";
    await run(source, { dryRun: true });
    expect(told).toHaveLength(2);
    await run(source);
    expect(told).toHaveLength(3);
  });

  it("not where the plan was refused or held back", async () => {
    const source = memorySource(named(30, "f"));
    await run(source);
    let told = 0;
    source.onPublished = () => void told++;
    source.content = { f0: "x" };
    await expect(run(source)).rejects.toMatchObject({ name: "RefusedError" });
    expect(told).toBe(0);
  });

  it("and a failure there is a warning: it is published", async () => {
    const source = memorySource({ a: "1" });
    source.onPublished = () => Promise.reject(new Error("no way to be smaller"));
    const events: SyncEvent[] = [];
    const result = await run(source, { onEvent: (event) => events.push(event) });
    expect(result.result).toBe("published");
    expect(events).toContainEqual({ type: "warning", source: 0, message: "no way to be smaller" });
  });
});

async function* watch() {
  yield await Promise.reject(new Error("too many watches"));
}

describe("swap", () => {
  it("publishes a tree and says what it did", async () => {
    const source = memorySource({
      "a.txt": "A",
      "d/b.txt": "B",
      "d/link": { link: "../a.txt" },
      run: { text: "#!", mode: 0o755 },
    });
    const result = await run(source);
    expect(result).toMatchObject({
      result: "published",
      added: 4,
      changed: 0,
      deleted: 0,
      files: 4,
      bytes: 4,
      path: join(target, "current"),
    });
    expect(current()).toEqual({ "a.txt": "A", "d/b.txt": "B", "d/link": "-> ../a.txt", run: "#!" });
    expect(statSync(join(target, "current/run")).mode & 0o777).toBe(0o755);
    expect(readlinkSync(join(target, "current"))).toBe(`.pannier/generations/${result.revision}`);
    expect(litter()).toEqual([]);
  });

  it("does nothing when nothing changed", async () => {
    const source = memorySource({ a: "1" });
    await run(source);
    expect(await run(source)).toMatchObject({ result: "unchanged", added: 0 });
    expect(source.reads).toEqual(["a"]);
  });

  it("does not even list when the probe says so", async () => {
    const source = memorySource({ a: "1" });
    source.token = "t1";
    source.revision = "r1";
    expect(await run(source)).toMatchObject({ revision: "r1" });
    await run(source);
    expect(source.lists).toBe(1);
    expect(readlinkSync(join(target, "current"))).toBe(".pannier/generations/r1");
  });

  it("gives the files another mode, though their source says that nothing changed", async () => {
    const source = memorySource({ a: "1" });
    source.token = source.revision = "r1";
    await run(source, { mode: 0o644 });
    expect(await run(source, { mode: 0o600 })).toMatchObject({ result: "published", changed: 1 });
    expect(statSync(join(target, "current/a")).mode & 0o777).toBe(0o600);
  });

  it("refuses names that are one on a file system that folds case", async () => {
    await run(memorySource({ a: "1" }));
    const db = new DatabaseSync(join(target, ".pannier/state.db"));
    db.exec("INSERT OR REPLACE INTO meta (key, value) VALUES ('folds', 'yes')");
    db.close();
    const both = run(memorySource({ a: "1", A: "2", b: "3" }));
    await expect(both).rejects.toThrow('"A" and "a" are one name on the target');
    expect(current()).toEqual({ a: "1" });
  });

  it("shows nothing under the name that the link had before", async () => {
    const source = memorySource({ a: "1" });
    await run(source, { link: "before" });
    await run(source, { link: "now" });
    expect(readdirSync(target).toSorted()).toEqual([".pannier", "now"]);
    expect(readTree(join(target, "now"))).toEqual({ a: "1" });
  });

  it("follows additions, changes and deletions over many revisions, keeping inodes of what did not change", async () => {
    const source = memorySource({});
    let inode: number | undefined;
    for (let i = 0; i < 12; i++) {
      source.content = {
        stays: "same",
        [`only-${i}`]: "x",
        [`dir-${i % 3}/file`]: `v${i}`,
        "deep/er/est": i % 2 === 0 ? "even" : "odd",
      };
      await run(source);
      expect(current()).toEqual(source.content);
      const now = statSync(join(target, "current/stays")).ino;
      inode ??= now;
      expect(now).toBe(inode);
      expect(litter()).toEqual([]);
    }
    expect(readdirSync(join(target, ".pannier/generations"))).toHaveLength(2);
  });

  it("turns files into directories and back", async () => {
    const source = memorySource({ x: "file", "y/z": "deep", other: "1" });
    await run(source);
    for (let i = 0; i < 6; i++) {
      source.content =
        i % 2 === 0
          ? { "x/a/b": "deep", y: "file", other: "1" }
          : { x: "file", "y/z": "deep", other: "1" };
      await run(source);
      expect(current()).toEqual(source.content);
    }
  });

  it("keeps as many trees as asked for", async () => {
    const source = memorySource({ a: "0" });
    for (let i = 0; i < 6; i++) {
      source.content = { a: String(i) };
      await run(source, { keep: 4 });
    }
    const kept = history(target).flatMap(({ path }) => path ?? []);
    expect(kept.map((path) => existsSync(path))).toEqual([true, true, true, true]);
  });

  it("gives up trees that are to be kept no longer even when nothing changed", async () => {
    const source = memorySource({});
    for (const content of ["1", "2", "3"]) {
      source.content = { a: content };
      await run(source, { keep: 3 });
    }
    expect(readdirSync(join(target, ".pannier/generations"))).toHaveLength(3);
    expect(await run(source, { keep: 1 })).toMatchObject({ result: "unchanged" });
    expect(readdirSync(join(target, ".pannier/generations"))).toHaveLength(1);
    expect(litter()).toEqual([]);
    expect(current()).toEqual({ a: "3" });
  });

  it("sorts listings that come in no order", async () => {
    const source = memorySource({ b: "1", "a/c": "2", "a-b": "3", a0: "4" });
    source.ordered = false;
    await run(source);
    source.content = { "a/c": "2", b: "1", "a.b": "5", a0: "4" };
    expect(await run(source)).toMatchObject({ added: 1, deleted: 1, changed: 0 });
    expect(current()).toEqual(source.content);
  });

  it("does not publish a touched file whose content is the same, and keeps its inode", async () => {
    const source = memorySource({ a: { text: "same", fingerprint: "1" }, b: "2" });
    await run(source);
    const { ino } = statSync(join(target, "current/a"));
    source.content = { a: { text: "same", fingerprint: "2" }, b: "2" };
    expect(await run(source)).toMatchObject({ result: "unchanged" });
    const reads = source.reads.length;
    expect(await run(source)).toMatchObject({ result: "unchanged" });
    expect(source.reads).toHaveLength(reads);
    source.content = { a: { text: "same", fingerprint: "3" }, b: "3" };
    expect(await run(source)).toMatchObject({ result: "published", changed: 1 });
    expect(statSync(join(target, "current/a")).ino).toBe(ino);
  });

  it("changes only the permissions where only they changed", async () => {
    const source = memorySource({ a: { text: "x", mode: 0o644 } });
    await run(source);
    const { ino } = statSync(join(target, "current/a"));
    source.content = { a: { text: "x", mode: 0o755 } };
    expect(await run(source)).toMatchObject({ changed: 1 });
    expect(source.reads).toEqual(["a"]);
    const stats = statSync(join(target, "current/a"));
    expect(stats.mode & 0o777).toBe(0o755);
    expect(stats.ino).not.toBe(ino);
  });

  it("lists again when the source changes under a read", async () => {
    const source = memorySource({ a: "1", b: "1" });
    let once = true;
    source.beforeRead = () => {
      if (once) source.content = { a: "2", b: "2" };
      once = false;
    };
    await run(source);
    expect(current()).toEqual({ a: "2", b: "2" });
    expect(source.lists).toBe(2);
  });

  it("lists again when a file is gone before it was read, whatever the source calls that", async () => {
    const source = memorySource({ a: "1", b: "1", c: "1" });
    source.beforeRead = ({ path }) => {
      if (path === "b") source.content = { a: "1", c: "1" };
    };
    await run(source);
    expect(current()).toEqual({ a: "1", c: "1" });
    expect(source.lists).toBe(2);
  });

  it("says not-found of what is listed each time and never there", async () => {
    const source = memorySource({ a: "1", b: "1" });
    source.beforeRead = ({ path }) => {
      if (path === "b") throw new SourceError("not-found", "no b");
    };
    await expect(run(source)).rejects.toMatchObject({ cause: { code: "not-found" } });
    expect(source.lists).toBeGreaterThan(1);
  });

  it("tells how far it is while the source stalls", async () => {
    const source = memorySource({ a: "1", b: "22", c: "333" });
    const stall = Promise.withResolvers<void>();
    source.beforeRead = ({ path }) => (path === "c" ? stall.promise : undefined);
    const told = Promise.withResolvers<SyncEvent>();
    const done = run(source, {
      onEvent(event) {
        if (event.type === "progress" && event.files === 2) told.resolve(event);
      },
    });
    expect(await told.promise).toMatchObject({ bytes: 3, totalFiles: 3, totalBytes: 6 });
    stall.resolve();
    await done;
  });

  it("fails where a listener does, and does not end the process", async () => {
    const source = memorySource({ a: "1", b: "22" });
    const stall = Promise.withResolvers<void>();
    source.beforeRead = ({ path }) => (path === "b" ? stall.promise : undefined);
    const done = run(source, {
      onEvent({ type }) {
        if (type !== "progress") return;
        stall.resolve();
        throw new Error("the listener is broken");
      },
    });
    await expect(done).rejects.toThrow("the listener is broken");
  });

  it("keeps what was published, and what was fetched, when a sync fails", async () => {
    const source = memorySource({ a: "1" });
    await run(source);
    source.content = { a: "2", b: "2", c: "2", d: "2" };
    source.beforeRead = ({ path }) => {
      if (path === "c") throw new SourceError("invalid", "broken");
    };
    await expect(run(source, { concurrency: 1 })).rejects.toThrow("broken");
    expect(current()).toEqual({ a: "1" });
    source.beforeRead = () => {};
    source.reads = [];
    await run(source, { concurrency: 1 });
    expect(source.reads).toEqual(["c", "d"]);
    expect(current()).toEqual(source.content);
    expect(litter()).toEqual([]);
  });

  it.each([
    ["query", "v=2", {}],
    ["option", "v=1", { path: "other" }],
  ])("asks again where the %s is another, whatever it had told", async (_, rawQuery, options) => {
    const source = memorySource({ a: "1", b: "1" });
    source.token = "same";
    const { location } = source;
    const first = { ...source, location: { ...location, rawQuery: "v=1" } };
    await run(first);
    await run(first);
    expect(source.lists).toBe(1);
    source.content = { a: "2", b: "1" };
    await run({ ...source, location: { ...location, rawQuery }, options });
    expect(current()).toEqual(source.content);
  });

  it("fetches nothing again for a signature recreated", async () => {
    const source = memorySource({ a: "1" });
    for (const rawQuery of ["signature=1", "signature=2"])
      await run({ ...source, location: { ...source.location, rawQuery } });
    expect(source.lists).toBe(2);
    expect(source.reads).toEqual(["a"]);
  });

  it("never takes a failed listing for a deletion", async () => {
    const source = memorySource({ a: "1", b: "2" });
    await run(source);
    source.beforeList = () => {
      throw new SourceError("unavailable", "gone", { transient: false });
    };
    await expect(run(source)).rejects.toThrow("gone");
    expect(current()).toEqual({ a: "1", b: "2" });
  });

  it("retries what is transient", async () => {
    const source = memorySource({ a: "1" });
    let failures = 2;
    source.beforeRead = () => {
      if (failures-- > 0) throw new SourceError("unavailable", "try again");
    };
    await run(source);
    expect(current()).toEqual({ a: "1" });
  });

  it("refuses to delete most of a tree, unless told that it may", async () => {
    const source = memorySource(named(30, "f"));
    await run(source);
    source.content = { f1: "x" };
    await expect(run(source)).rejects.toThrow("29 of 30 files would be deleted");
    source.content = {};
    await expect(run(source)).rejects.toThrow("has become empty");
    await expect(run(source, { maxDelete: "50%" })).rejects.toThrow("has become empty");
    await run(source, { maxDelete: "100%" });
    expect(current()).toEqual({});
  });

  it("refuses a layer that became empty, however small its share of the tree", async () => {
    const below = memorySource({ ...named(100, "below"), shared: "below" }, "below");
    const above = memorySource({ ...named(10, "above"), shared: "above" }, "above");
    const layered = (options: Partial<SyncOptions> = {}) =>
      sync({ sources: [below, above], target, ...options });
    await layered();
    above.content = { other: "x" };
    await layered();
    above.content = { shared: "above" };
    await layered();
    const published = current();
    above.content = {};
    await expect(plan({ sources: [below, above], target })).rejects.toThrow("has become empty");
    const refused = "has become empty: all that came from memory://above/ would be deleted";
    // It uncovers a file of the layer below, and deletes none.
    await expect(layered()).rejects.toThrow(refused);
    await expect(layered({ maxDelete: "99%" })).rejects.toThrow(refused);
    expect(current()).toEqual(published);
    // Who takes a source out of the list means it.
    await sync({ sources: [below], target });
    expect(current()).toEqual(below.content);
    above.content = named(10, "above");
    await layered();
    above.content = {};
    await expect(layered({ maxDelete: 9 })).rejects.toThrow("has become empty");
    await layered({ maxDelete: 10 });
    expect(current()).toEqual(below.content);
  });

  it("keeps to limits", async () => {
    const source = memorySource({ a: "12345", b: "1" });
    await expect(run(source, { maxFileBytes: 4 })).rejects.toMatchObject({
      cause: { code: "invalid" },
    });
    await expect(run(source, { maxFiles: 1 })).rejects.toThrow("files allowed");
    await expect(run(source, { maxBytes: 5 })).rejects.toMatchObject({ name: "NoRoomError" });
    await run(source, { maxFileBytes: 5, maxFiles: 2, maxBytes: 6 });
  });

  it("refuses a file without a fingerprint, whose changes would never show", async () => {
    const source = memorySource({ a: "1", b: { text: "2", fingerprint: "" } });
    await expect(run(source)).rejects.toThrow('"b" came without a fingerprint');
    await run(source, { exclude: ["b"] });
  });

  it("honours includes, excludes and the source's .pannierignore", async () => {
    const source = memorySource({
      "a.html": "1",
      "b.css": "2",
      "sub/c.html": "3",
      "draft/d.html": "4",
    });
    await run(source, { include: ["*.html"], exclude: ["draft"] });
    expect(current()).toEqual({ "a.html": "1", "sub/c.html": "3" });
    await run(source);
    expect(current()).toEqual(source.content);
    source.content = { ...source.content, ".pannierignore": "# Not for the site\nsub\n*.css\n" };
    await run(source);
    expect(current()).toEqual({ "a.html": "1", "draft/d.html": "4" });
    expect(await run(source)).toMatchObject({ result: "unchanged" });
    source.content = { ...source.content, ".pannierignore": "sub\n" };
    await run(source);
    expect(current()).toEqual({ "a.html": "1", "b.css": "2", "draft/d.html": "4" });
    const { ".pannierignore": _, ...rest } = source.content;
    source.content = rest;
    await run(source);
    expect(current()).toEqual(rest);
  });

  it("shows a pre-publish hook the candidate, and keeps the old tree when it says no", async () => {
    const source = memorySource({ a: "1", b: "1" });
    await run(source);
    source.content = { a: "2", c: "1" };
    const seen: unknown[] = [];
    const prePublish: SyncOptions["prePublish"] = (candidate) => {
      seen.push(readTree(candidate.path), readFileSync(candidate.changes, "utf8"));
      return Promise.reject(new Error("not good enough"));
    };
    await expect(run(source, { prePublish })).rejects.toMatchObject({ name: "HookError" });
    expect(seen).toEqual([{ a: "2", c: "1" }, "M\ta\nD\tb\nA\tc\n"]);
    expect(current()).toEqual({ a: "1", b: "1" });
    source.reads = [];
    await run(source);
    expect(current()).toEqual({ a: "2", c: "1" });
    expect(source.reads).toEqual([]);
    expect(litter()).toEqual([]);
  });

  it("says who holds the target", async () => {
    const source = memorySource({ a: "1" });
    source.beforeRead = async () => {
      await expect(run(memorySource({ b: "1" }))).rejects.toThrow("another Pannier is at work");
    };
    await run(source);
    expect.hasAssertions();
  });

  it("stops when told to, and leaves what was published", async () => {
    const source = memorySource({ a: "1" });
    await run(source);
    source.content = { a: "2" };
    const stop = new AbortController();
    source.beforeRead = () => stop.abort(new Error("stopped by the test"));
    await expect(run(source, { signal: stop.signal })).rejects.toThrow("stopped by the test");
    expect(current()).toEqual({ a: "1" });
  });

  it("has a large file in its state as soon as it is there: a kill would lose what is not", async () => {
    const source = memorySource({ a: "x".repeat(16 << 20), b: "2" });
    const under = Promise.withResolvers<void>();
    source.beforeRead = ({ path }) => {
      under.resolve();
      return path === "b" ? new Promise(() => {}) : undefined;
    };
    const stop = new AbortController();
    const stopped = run(source, { signal: stop.signal });
    await under.promise;
    const state = new DatabaseSync(join(target, ".pannier/state.db"), { readOnly: true });
    const planned = state.prepare("SELECT path, ino FROM plan ORDER BY path");
    await expect
      .poll(() => planned.all())
      .toMatchObject([
        { path: "a", ino: expect.any(Number) },
        { path: "b", ino: null },
      ]);
    state.close();
    stop.abort(new Error("stopped by the test"));
    await expect(stopped).rejects.toThrow("stopped by the test");
  });

  it("gives up when the whole sync takes too long", async () => {
    const source = memorySource({ a: "1" });
    source.beforeRead = () => new Promise(() => {});
    await expect(run(source, { timeout: 50 })).rejects.toThrow("took longer than");
  });

  it("gives up a source that does not open, and closes it if it does so later", async () => {
    const source = memorySource({ a: "1" });
    const { adapter } = source;
    const opening = Promise.withResolvers<void>();
    const closed = Promise.withResolvers<void>();
    const open: typeof adapter.open = async (...given) => {
      await opening.promise;
      return { ...(await adapter.open(...given)), close: async () => closed.resolve() };
    };
    const stubborn = Object.assign(memorySource(), { adapter: { ...adapter, open } });
    await expect(run(stubborn, { timeout: 50 })).rejects.toMatchObject({
      code: "unavailable",
      message: expect.stringContaining("took longer than"),
    });
    const stop = new AbortController();
    const stopped = run(stubborn, { signal: stop.signal });
    stop.abort(new Error("stopped by the test"));
    await expect(stopped).rejects.toThrow("stopped by the test");
    await run(source);
    expect(current()).toEqual({ a: "1" });
    opening.resolve();
    await closed.promise;
  });

  it("is told when a source cannot be watched, and polls it", async () => {
    const source = memorySource({ a: "1" });
    const { adapter } = source;
    const open: typeof adapter.open = async (...given) => ({
      ...(await adapter.open(...given)),
      watch,
    });
    Object.assign(source, { adapter: { ...adapter, open } });
    const warnings: string[] = [];
    const stop = new AbortController();
    const options = { sources: [source], target, period: "1ms" };
    for await (const event of follow(options, { signal: stop.signal })) {
      if (event.type === "warning") warnings.push(event.message);
      if (event.type === "waiting" && source.lists > 1) stop.abort();
    }
    expect(warnings).toEqual(["cannot be watched, only polled: too many watches"]);
  });

  it("answers hints in a row with one sync", async () => {
    const source = memorySource({ a: "1" });
    const { adapter } = source;
    /** Pauses that the machine made, not the source. */
    let pauses = 0;
    const over = Promise.withResolvers<void>();
    async function* hints() {
      for (let i = 0; i < 30; i++) {
        const before = performance.now();
        await sleep(10);
        if (performance.now() - before > 80) pauses++;
        yield;
      }
      source.content = { a: "2" };
      yield;
      over.resolve();
    }
    const open: typeof adapter.open = async (...given) => ({
      ...(await adapter.open(...given)),
      watch: hints,
    });
    Object.assign(source, { adapter: { ...adapter, open } });
    const stop = new AbortController();
    const options = { sources: [source], target, period: "1h" };
    let started = 0;
    for await (const event of follow(options, { signal: stop.signal })) {
      if (event.type === "started") started++;
      if (event.type === "waiting" && current()["a"] === "2") stop.abort();
    }
    await over.promise;
    expect(started).toBeLessThanOrEqual(2 + pauses);
  });

  it("tells why a source cannot be opened, however long another one takes to close", async () => {
    const slow = memorySource({ a: "1" });
    const failing = memorySource({ b: "1" }, "other");
    const { adapter } = slow;
    const open: typeof adapter.open = async (...given) => ({
      ...(await adapter.open(...given)),
      close: () => sleep(20),
    });
    Object.assign(slow, { adapter: { ...adapter, open } });
    Object.assign(failing, {
      adapter: {
        ...failing.adapter,
        open: () => Promise.reject(new SourceError("auth", "who are you?")),
      },
    });
    const unheard: unknown[] = [];
    const note = (reason: unknown) => void unheard.push(reason);
    process.on("unhandledRejection", note);
    await expect(sync({ sources: [slow, failing], target })).rejects.toThrow("who are you?");
    process.off("unhandledRejection", note);
    expect(unheard).toEqual([]);
  });

  it("does not wait for ever for a source that does not close", async () => {
    const source = memorySource({ a: "1" });
    const { adapter } = source;
    const open: typeof adapter.open = async (...given) => ({
      ...(await adapter.open(...given)),
      close: () => new Promise(() => {}),
    });
    Object.assign(source, { adapter: { ...adapter, open } });
    const warnings: string[] = [];
    const onEvent = (event: SyncEvent) => {
      if (event.type === "warning") warnings.push(event.message);
    };
    expect(await run(source, { idleTimeout: 50, onEvent })).toMatchObject({ result: "published" });
    expect(warnings).toEqual(["cannot be closed: it did not end within 50 ms"]);
    // Its target is free again.
    await run(memorySource({ a: "2" }));
  });
});

describe("unsafe content", () => {
  it.each([
    "../x",
    "/etc/x",
    "a/../../x",
    "a//b",
    "./a",
    "a/.",
    "",
    "nul\0",
    "\ud800",
    "a/".repeat(2000),
  ])("refuses the path %j whole", async (path) => {
    const source = memorySource({ good: "1", [path]: "bad" });
    source.ordered = false;
    await expect(run(source)).rejects.toMatchObject({ cause: { code: "invalid" } });
    expect(existsSync(join(target, "current"))).toBe(false);
  });

  it.each([
    ["absolute", { l: { link: "/etc/passwd" } }],
    ["upwards", { l: { link: "../x" } }],
    ["upwards from below", { "a/b/l": { link: "../../../x" } }],
    ["through another link", { "deep/er/up": { link: "../.." }, l: { link: "deep/er/up/../x" } }],
  ])("refuses a symlink that leads out: %s", async (_, content) => {
    await expect(run(memorySource(content))).rejects.toMatchObject({ name: "RefusedError" });
    await run(memorySource({ ...content, ok: "1" }), { symlinks: "skip" });
    expect(current()).toMatchObject({ ok: "1" });
    expect(current()["l"]).toBeUndefined();
  });

  it("keeps links inside, rejects all when asked to, and keeps all when asked to", async () => {
    const source = memorySource({
      "a/b": "1",
      "a/l": { link: "./b" },
      up: { link: "a/../a/b" },
      dangling: { link: "nowhere" },
    });
    await run(source);
    expect(current()).toEqual({
      "a/b": "1",
      "a/l": "-> ./b",
      up: "-> a/../a/b",
      dangling: "-> nowhere",
    });
    await expect(run(source, { symlinks: "reject" })).rejects.toThrow("symlinks are rejected");
    source.content = { "a/b": "1", out: { link: "/etc/hosts" } };
    await run(source, { symlinks: "all" });
    expect(current()["out"]).toBe("-> /etc/hosts");
    await run(source, { symlinks: "skip" });
    expect(current()).toEqual({ "a/b": "1" });
  });

  it("judges an old link again when a new one changes where it leads", async () => {
    const source = memorySource({ "d/e/f": "1", "x/y": "1", l: { link: "x/../d/e/f" } });
    await run(source);
    source.content = {
      "d/e/f": "1",
      "q/r/s/t": "1",
      x: { link: "q/r" },
      l: { link: "x/../../../d" },
    };
    await expect(run(source)).rejects.toMatchObject({ name: "RefusedError" });
  });

  it("refuses a name that is both a file and a directory", async () => {
    await expect(run(memorySource({ a: "1", "a/b": "2" }))).rejects.toThrow("cannot be both");
    await expect(run(memorySource({ a: { link: "." }, "a/b": "2" }))).rejects.toThrow(
      "cannot be both",
    );
    const source = memorySource({ "a/b": "2" });
    await run(source);
    source.content = { a: "1", "a/b": "2" };
    await expect(run(source)).rejects.toThrow("cannot be both");
  });
});

const layers = (...sources: [ReturnType<typeof memorySource>, string?][]) => ({
  sources: sources.map(([source, into]) => ({ source, into })),
  target,
});

describe("layers", () => {
  it("lays later sources over earlier ones, and uncovers them again", async () => {
    const below = memorySource({ a: "below", b: "below" }, "below");
    const above = memorySource({ a: "above", c: "above" }, "above");
    await sync(layers([below], [above]));
    expect(current()).toEqual({ a: "above", b: "below", c: "above" });
    above.content = { c: "above" };
    expect(await sync(layers([below], [above]))).toMatchObject({
      changed: 1,
      deleted: 0,
      added: 0,
      files: 3,
    });
    expect(current()).toEqual({ a: "below", b: "below", c: "above" });
    below.content = { a: "new", b: "below" };
    above.content = { a: "above again", c: "above" };
    await sync(layers([below], [above]));
    expect(current()).toEqual({ a: "above again", b: "below", c: "above" });
    below.content = { b: "below" };
    expect(await sync(layers([below], [above]))).toMatchObject({ result: "unchanged" });
    above.content = { c: "above" };
    expect(await sync(layers([below], [above]))).toMatchObject({ deleted: 1 });
    expect(current()).toEqual({ b: "below", c: "above" });
    await sync(layers([below]));
    expect(current()).toEqual({ b: "below" });
  });

  it("puts a source below a directory", async () => {
    const site = memorySource({ "index.html": "1" }, "site");
    const logos = memorySource({ "a.svg": "2" }, "logos");
    await sync(layers([site], [logos, "img/logos/"]));
    expect(current()).toEqual({ "index.html": "1", "img/logos/a.svg": "2" });
    await expect(sync(layers([site], [logos, "../out"]))).rejects.toMatchObject({
      name: "UsageError",
    });
  });
});

describe("mirror", () => {
  it("puts files into the target and leaves others' alone", async () => {
    writeFileSync(join(target, "mine"), "keep");
    const source = memorySource({ a: "1", "d/b": "1", l: { link: "a" } });
    expect(await run(source, { publish: "mirror" })).toMatchObject({
      result: "published",
      foreign: ["mine"],
      path: target,
    });
    expect(readTree(target)).toEqual({ a: "1", "d/b": "1", l: "-> a", mine: "keep" });
    source.content = { a: "2", "d/c/e": "1" };
    await run(source, { publish: "mirror" });
    expect(readTree(target)).toEqual({ a: "2", "d/c/e": "1", mine: "keep" });
    source.content = { a: "2", d: "file" };
    await run(source, { publish: "mirror" });
    source.content = { "a/x": "2", d: "file" };
    await run(source, { publish: "mirror" });
    expect(readTree(target)).toEqual({ "a/x": "2", d: "file", mine: "keep" });
    expect(litter()).toEqual([]);
    await expect(run(source)).rejects.toThrow("was filled with --publish mirror");
  });

  it("does not write through a planted symlink", async () => {
    const outside = mkdtempSync(join(tmpdir(), "pannier-outside-"));
    symlinkSync(outside, join(target, "d"));
    await expect(run(memorySource({ "d/x": "1" }), { publish: "mirror" })).rejects.toMatchObject({
      name: "RefusedError",
    });
    expect(readdirSync(outside)).toEqual([]);
    rmSync(outside, { recursive: true });
  });
});

describe("tampering", () => {
  it("finds and repairs what was changed, deleted and added in the published tree", async () => {
    const source = memorySource({ a: "1", b: "2", "d/c": "3" });
    await run(source);
    appendFileSync(join(target, "current/a"), "tampered");
    unlinkSync(join(target, "current/b"));
    writeFileSync(join(target, "current/d/extra"), "x");
    const faults: string[] = [];
    expect(await verify(target, (fault, path) => faults.push(`${fault} ${path}`))).toMatchObject({
      changed: 1,
      missing: 1,
      extra: 1,
    });
    expect(faults).toEqual(["changed a", "missing b", "extra d/extra"]);
    await repair({ sources: [source], target });
    expect(current()).toEqual(source.content);
    expect(await verify(target)).toMatchObject({ changed: 0, missing: 0, extra: 0 });
  });

  it("does not publish what was done to a tree before it was recycled", async () => {
    const source = memorySource({ a: "0", b: "same", c: "same", "d/e": "same" });
    for (let i = 1; i < 5; i++) {
      source.content = { ...source.content, a: String(i) };
      await run(source);
    }
    const spare = join(
      target,
      ".pannier",
      readdirSync(join(target, ".pannier")).find((name) => name.startsWith("candidate-")) as string,
    );
    unlinkSync(join(spare, "b"));
    writeFileSync(join(spare, "d/extra"), "x");
    mkdirSync(join(spare, "empty"));
    appendFileSync(join(spare, "c"), "tampered");
    source.content = { ...source.content, a: "5" };
    await run(source);
    expect(current()).toEqual(source.content);
  });

  it("makes a tree again that is gone, and a link that is wrong", async () => {
    const source = memorySource({ a: "1", b: "2" });
    source.token = "t";
    await run(source);
    rmSync(join(target, ".pannier/generations"), { recursive: true });
    await run(source);
    expect(current()).toEqual(source.content);
    unlinkSync(join(target, "current"));
    await run(source);
    expect(current()).toEqual(source.content);
    unlinkSync(join(target, "current"));
    mkdirSync(join(target, "current"));
    await expect(run(source)).rejects.toThrow("is there already");
  });

  it("does not follow a directory of the published tree that was replaced by a link", async () => {
    const source = memorySource({ "d/a": "1", x: "1" });
    await run(source);
    const outside = mkdtempSync(join(tmpdir(), "pannier-outside-"));
    writeFileSync(join(outside, "a"), "1");
    renameSync(join(target, "current/d"), join(outside, "moved"));
    symlinkSync(outside, join(target, "current/d"));
    source.content = { "d/a": "1", x: "2" };
    await run(source);
    expect(current()).toEqual(source.content);
    expect(lstatSync(join(target, "current/d")).isDirectory()).toBe(true);
    rmSync(outside, { recursive: true });
  });
});

describe("rollback", () => {
  it("goes back, stays back until the source changes, and goes on from there", async () => {
    const source = memorySource({ a: "1", b: "1" });
    source.token = source.revision = "r1";
    await run(source, { keep: 3 });
    source.content = { a: "2", c: "2" };
    source.token = source.revision = "r2";
    await run(source, { keep: 3 });
    expect(await rollback(target)).toMatchObject({ revision: "r1", files: 2 });
    expect(current()).toEqual({ a: "1", b: "1" });
    expect(status(target)).toMatchObject({ revision: "r1", held: true });
    expect(await run(source, { keep: 3 })).toMatchObject({ result: "unchanged", revision: "r1" });
    source.content = { a: "3", c: "2" };
    source.token = source.revision = "r3";
    await run(source, { keep: 3 });
    expect(current()).toEqual({ a: "3", c: "2" });
    expect(status(target)).toMatchObject({ held: false });
    await expect(rollback(target, "nonsense")).rejects.toThrow("is not kept");
    await rollback(target, "r2");
    expect(current()).toEqual({ a: "2", c: "2" });
  });
});

describe("rollback of a source that cannot be probed", () => {
  it("is held, and mended as it is", async () => {
    const source = memorySource({ a: "1", b: "1" });
    await run(source);
    source.content = { a: "2", b: "1" };
    await run(source);
    await rollback(target);
    expect(await run(source)).toMatchObject({ result: "unchanged" });
    expect(current()).toEqual({ a: "1", b: "1" });
    expect(await verify(target)).toMatchObject({ changed: 0, missing: 0, extra: 0 });
    unlinkSync(join(target, "current/b"));
    await repair({ sources: [source], target });
    expect(current()).toEqual({ a: "1", b: "1" });
    expect(await run(source)).toMatchObject({ result: "unchanged" });
    source.content = { a: "3", b: "1" };
    await run(source);
    expect(current()).toEqual({ a: "3", b: "1" });
  });
});

describe("plan", () => {
  it("tells what would change and leaves the target alone", async () => {
    const source = memorySource({ a: "1", b: "1" });
    const fresh = join(target, "not-there");
    expect(await plan({ sources: [source], target: fresh })).toMatchObject({
      result: "planned",
      added: 2,
    });
    expect(existsSync(fresh)).toBe(false);
    await run(source);
    source.content = { a: "2", c: "1" };
    const changes: string[] = [];
    await plan({ sources: [source], target }, ({ change, path }) =>
      changes.push(`${change} ${path}`),
    );
    expect(changes).toEqual(["changed a", "deleted b", "added c"]);
    expect(current()).toEqual({ a: "1", b: "1" });
    expect(await plan({ sources: [memorySource({ a: "1", b: "1" })], target })).toMatchObject({
      result: "unchanged",
    });
  });
});

describe("follow", () => {
  it("builds a tree ahead, so that the first change links nothing", async () => {
    const source = memorySource({ a: "1", "d/b": "1" });
    source.token = "1";
    const stop = new AbortController();
    for await (const event of follow(
      { sources: [source], target, period: "1h" },
      { signal: stop.signal },
    )) {
      if (event.type === "waiting") stop.abort();
    }
    const ahead = readdirSync(join(target, ".pannier")).filter((name) =>
      name.startsWith("candidate-"),
    );
    expect(ahead.map((name) => readTree(join(target, ".pannier", name)))).toEqual([
      { a: "1", "d/b": "1" },
    ]);
    const { ino } = statSync(join(target, ".pannier", ahead[0] as string, "d"));
    source.content = { a: "2", "d/b": "1" };
    source.token = "2";
    await run(source);
    expect(current()).toEqual(source.content);
    expect(statSync(join(target, "current/d")).ino).toBe(ino);
    expect(litter()).toEqual([]);
  });

  it("looks at its sources a period apart, give or take a tenth at random", async () => {
    const source = memorySource({ a: "1" });
    source.token = "1";
    const random = vi.spyOn(Math, "random").mockReturnValue(0);
    const stop = new AbortController();
    const looks = new EventEmitter();
    const delays: number[] = [];
    for await (const event of follow(
      { sources: [source], target, period: "1h" },
      { signal: stop.signal, triggers: on(looks, "look", { signal: stop.signal }) },
    )) {
      if (event.type !== "waiting") continue;
      delays.push(event.delay / 3_600_000);
      random.mockReturnValue(delays.length / 4);
      if (delays.length === 4) stop.abort();
      else looks.emit("look");
    }
    random.mockRestore();
    expect(delays.map((delay) => delay.toFixed(3))).toEqual(["0.900", "0.950", "1.000", "1.050"]);
  });

  it("publishes each change until it is stopped, and lives through failures", async () => {
    const source = memorySource({ a: "1" });
    const stop = new AbortController();
    const seen: string[] = [];
    for await (const event of follow(
      { sources: [source], target, period: "5ms" },
      { signal: stop.signal },
    )) {
      if (event.type === "failed") {
        seen.push("failed");
        source.beforeList = () => {};
      }
      if (event.type !== "published") continue;
      seen.push(current()["a"] as string);
      if (seen.length === 1)
        source.beforeList = () =>
          Promise.reject(new SourceError("unavailable", "down", { transient: false }));
      source.content = { a: `${seen.length + 1}` };
      if (seen.length >= 3) stop.abort();
    }
    expect(seen).toEqual(["1", "failed", "2"]);
  });
});
