/** What is lost, half done, in the way or pulled from under the engine, and how it comes out of it. */
import { execFileSync } from "node:child_process";
import fs, {
  appendFileSync,
  chmodSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  rmSync,
  statSync,
  unlinkSync,
  utimesSync,
  writeFileSync,
} from "node:fs";
import { syncBuiltinESMExports } from "node:module";
import { DatabaseSync } from "node:sqlite";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import {
  changesBetween,
  history,
  NoRoomError,
  plan,
  repair,
  rollback,
  SourceError,
  status,
  sync,
  type SyncOptions,
  verify,
} from "../src/index.ts";
import { type MemorySource, memorySource } from "./memory-source.ts";
import { litterOf, readTree } from "./trees.ts";
import { eventually } from "../../../test/support/eventually.ts";

let target: string;

beforeEach(() => {
  target = mkdtempSync(join(tmpdir(), "pannier-test-"));
});

afterEach(() => {
  rmSync(target, { recursive: true, force: true });
});

const current = () => readTree(join(target, "current"));
const run = (source: MemorySource, options: Partial<SyncOptions> = {}) =>
  sync({ sources: [source], target, ...options });
const layered = (sources: MemorySource[], options: Partial<SyncOptions> = {}) =>
  sync({ sources, target, ...options });
const mirror = (source: MemorySource) => run(source, { publish: "mirror" });
/** Puts something in the way of a mirror, after everything was looked at. */
const blockB: SyncOptions["onEvent"] = (event) => {
  if (event.type !== "step" || event.step !== "publish") return;
  unlinkSync(join(target, "b"));
  mkdirSync(join(target, "b"));
  writeFileSync(join(target, "b/theirs"), "");
};
const tell = (source: MemorySource, revision: string) => {
  source.token = source.revision = revision;
};
const publishedBy = async (source: MemorySource) => {
  await run(source, { keep: 3 });
  return current()["a"];
};
const refuse = () => Promise.reject(new Error("no"));
const away = () => {
  throw new SourceError("unavailable", "gone", { transient: false });
};
const intact = { changed: 0, missing: 0, extra: 0 };
const down = () => {
  throw new SourceError("unavailable", "down", { transient: false });
};
/** As after a restart of the machine. */
function pretendReboot(): void {
  const db = new DatabaseSync(join(target, ".pannier/state.db"));
  db.exec("UPDATE meta SET value = 'another' WHERE key = 'boot'");
  db.close();
}

describe("a lost or broken state", () => {
  it.each([
    ["deleted", () => rmSync(join(target, ".pannier/state.db"))],
    ["garbage", () => writeFileSync(join(target, ".pannier/state.db"), "garbage".repeat(1000))],
    ["cut to nothing", () => writeFileSync(join(target, ".pannier/state.db"), "")],
  ])("%s: what is published stays until there is something new", async (_, harm) => {
    const source = memorySource({ a: "1", "d/b": "1" });
    source.token = source.revision = "r1";
    await run(source);
    for (const file of ["state.db-wal", "state.db-shm"])
      rmSync(join(target, ".pannier", file), { force: true });
    harm();
    source.beforeList = down;
    await expect(run(source)).rejects.toThrow("down");
    expect(current()).toEqual({ a: "1", "d/b": "1" });
    source.beforeList = () => {};
    expect(await run(source)).toMatchObject({ result: "published", revision: "r1" });
    expect(current()).toEqual(source.content);
    source.token = source.revision = "r2";
    source.content = { a: "2" };
    await run(source);
    expect(current()).toEqual(source.content);
    expect(
      litterOf(
        target,
        history(target).flatMap(({ path }) => path?.split("/").at(-1) ?? []),
      ),
    ).toEqual([]);
    expect(await verify(target)).toMatchObject(intact);
  });

  it("does not go on counting trees that are gone", async () => {
    const source = memorySource({ a: "1" });
    await run(source);
    source.content = { a: "2" };
    await run(source);
    rmSync(join(target, ".pannier/generations"), { recursive: true });
    await run(source);
    expect(history(target).filter(({ path }) => path !== undefined)).toHaveLength(1);
    expect(current()).toEqual({ a: "2" });
  });

  it("is said to be so by what only reads it", async () => {
    await run(memorySource({ a: "1" }));
    writeFileSync(join(target, ".pannier/state.db"), "garbage".repeat(1000));
    expect(() => status(target)).toThrow("cannot be read");
    writeFileSync(join(target, ".pannier/state.db"), "");
    expect(status(target)).toBeUndefined();
    expect(changesBetween(target, undefined, 1)).toBeUndefined();
    // A file, where a target should be.
    expect(status(join(target, ".pannier/state.db"))).toBeUndefined();
    await expect(verify(target)).rejects.toThrow("nothing was published");
  });

  it("survives a lock file that is no database", async () => {
    const source = memorySource({ a: "1" });
    await run(source);
    writeFileSync(join(target, ".pannier/lock"), "garbage".repeat(1000));
    source.content = { a: "2" };
    await run(source);
    expect(current()).toEqual({ a: "2" });
  });
});

/** Nothing but the content shows it. */
function overwrite(file: string, text: string): void {
  const times = join(target, "times");
  execFileSync("touch", ["-r", file, times]);
  writeFileSync(file, text);
  execFileSync("touch", ["-r", times, file]);
  rmSync(times);
}

const candidateOf = () =>
  readdirSync(join(target, ".pannier"))
    .filter((name) => name.startsWith("candidate-"))
    .map((name) => join(target, ".pannier", name))[0] as string;

const modesOf = (paths: string[]) =>
  paths.map((path) => (statSync(join(target, "current", path)).mode & 0o777).toString(8));

describe("a sync that was cut, and what it had made is lost", () => {
  const losses: [string, () => void][] = [
    ["nothing", () => {}],
    ["a restart of the machine", () => pretendReboot()],
    [
      "what was in a file, by a restart of the machine",
      () => {
        overwrite(join(candidateOf(), "d/ab"), "???");
        pretendReboot();
      },
    ],
    ["the candidate", () => rmSync(candidateOf(), { recursive: true })],
    ["a symlink in it", () => unlinkSync(join(candidateOf(), "d/aa-link"))],
    [
      "a symlink that leads elsewhere now",
      () => {
        unlinkSync(join(candidateOf(), "d/aa-link"));
        fs.symlinkSync("elsewhere", join(candidateOf(), "d/aa-link"));
      },
    ],
    ["the permissions of a file", () => chmodSync(join(candidateOf(), "d/ab"), 0o600)],
    ["the permissions of a directory", () => chmodSync(join(candidateOf(), "d"), 0o700)],
  ];
  const content = { "d/aa-link": { link: "file" }, "d/ab": "new", "d/file": "1", z: "z" };

  describe.each([
    ["the first", {}],
    ["an update", { "d/file": "1", old: "1" }],
  ])("%s", (_, before) => {
    it.each(losses)("%s: the next one is whole", async (__, lose) => {
      const source = memorySource(before);
      if (Object.keys(before).length > 0) await run(source);
      const stop = new AbortController();
      source.content = content;
      source.beforeRead = async ({ path }) => {
        if (path !== "z") return;
        await eventually(() => statSync(join(candidateOf(), "d/ab")));
        stop.abort(new Error("cut"));
      };
      await expect(run(source, { concurrency: 1, signal: stop.signal })).rejects.toThrow("cut");
      lose();
      source.beforeRead = () => {};
      await run(source);
      expect(current()).toEqual({ ...content, "d/aa-link": "-> file" });
      expect(modesOf(["d", "d/ab", "d/file"])).toEqual(["755", "644", "644"]);
      expect(await verify(target)).toMatchObject(intact);
    });

    it("by a full volume: the next one is whole", async () => {
      const source = memorySource(before);
      if (Object.keys(before).length > 0) await run(source);
      source.content = content;
      source.beforeRead = ({ path }) => {
        if (path === "z") throw new NoRoomError("full");
      };
      await expect(run(source, { concurrency: 1 })).rejects.toThrow("full");
      expect(candidateOf()).toBeUndefined();
      source.beforeRead = () => {};
      await run(source);
      expect(current()).toEqual({ ...content, "d/aa-link": "-> file" });
    });
  });

  it("a tree that is recycled has its symlinks and permissions looked at", async () => {
    const source = memorySource(content);
    for (let i = 0; i < 3; i++) {
      source.content = { ...content, i: String(i) };
      await run(source);
    }
    // Neither shows in the time of a directory.
    chmodSync(join(candidateOf(), "d/ab"), 0o600);
    source.content = { ...content, i: "3" };
    await run(source);
    expect(modesOf(["d/ab"])).toEqual(["644"]);
    expect(await verify(target)).toMatchObject(intact);
  });
});

describe("damage", () => {
  it("of the content of a mirror is looked for when asked, not at each sync", async () => {
    const source = memorySource({ a: "1" });
    await mirror(source);
    overwrite(join(target, "a"), "X");
    const healed: string[] = [];
    const onEvent: SyncOptions["onEvent"] = (event) => {
      if (event.type === "healed") healed.push(event.message);
    };
    await run(source, { publish: "mirror", onEvent });
    expect(healed).toEqual([]);
    await repair({ sources: [source], target, publish: "mirror" });
    expect(readTree(target)).toEqual({ a: "1" });
  });

  it("stays known until it is repaired", async () => {
    const source = memorySource({ a: "1", b: "2" });
    await run(source);
    const { mtime } = statSync(join(target, "current/a"));
    writeFileSync(join(target, "current/a"), "X");
    utimesSync(join(target, "current/a"), mtime, mtime);
    pretendReboot();
    await plan({ sources: [source], target });
    source.beforeRead = down;
    await expect(run(source)).rejects.toThrow("down");
    source.beforeRead = () => {};
    await run(source);
    expect(current()).toEqual({ a: "1", b: "2" });
  });

  it("is not linked into the next tree, though size and time of the file are right", async () => {
    const file = { text: "1", mtime: 1.6e12 };
    const source = memorySource({ a: { ...file, fingerprint: "1" }, b: "2" });
    await run(source);
    const { mtime } = statSync(join(target, "current/a"));
    writeFileSync(join(target, "current/a"), "X");
    utimesSync(join(target, "current/a"), mtime, mtime);
    source.content = { a: { ...file, fingerprint: "2" }, b: "2" };
    await repair({ sources: [source], target });
    expect(current()).toEqual({ a: "1", b: "2" });
    expect(await verify(target)).toMatchObject(intact);
  });

  it("is seen in another file of the same size, time and permissions", async () => {
    const file = { text: "1", mtime: 1.6e12 };
    const source = memorySource({ a: file, b: "1" });
    await run(source);
    const published = join(target, "current/a");
    overwrite(published, "X");
    // The file that is wrong takes the place, with a number of its own.
    fs.renameSync(published, join(target, "wrong"));
    fs.copyFileSync(join(target, "wrong"), published);
    utimesSync(published, 1.6e9, 1.6e9);
    source.content = { a: file, b: "2" };
    await run(source);
    expect(current()).toEqual({ a: "1", b: "2" });
  });

  it("is repaired from the version that the source has now, if only its name is another", async () => {
    const source = memorySource({ a: { text: "A", fingerprint: "1", ref: "old" }, b: "B" });
    await run(source);
    source.content = { a: { text: "A", fingerprint: "1", ref: "new" }, b: "B" };
    expect(await run(source)).toMatchObject({ result: "unchanged" });
    writeFileSync(join(target, "current/a"), "tampered");
    await repair({ sources: [source], target });
    expect(current()).toEqual({ a: "A", b: "B" });
  });

  it("is repaired where a layer covers another", async () => {
    const below = memorySource({ a: "below", b: "below" }, "below");
    const above = memorySource({ a: "above" }, "above");
    await layered([below, above]);
    appendFileSync(join(target, "current/a"), "X");
    appendFileSync(join(target, "current/b"), "X");
    await repair({ sources: [below, above], target });
    expect(current()).toEqual({ a: "above", b: "below" });
    expect(await verify(target)).toMatchObject(intact);
  });

  it.each(["file", "link"])("is seen where the published tree is a %s", async (kind) => {
    const source = memorySource({ a: "1" });
    await run(source);
    const tree = history(target)[0]?.path as string;
    rmSync(tree, { recursive: true });
    if (kind === "file") writeFileSync(tree, "");
    else (await import("node:fs")).symlinkSync("/usr", tree);
    await repair({ sources: [source], target });
    expect(current()).toEqual({ a: "1" });
    source.content = { a: "2" };
    await run(source);
    expect(await verify(target)).toMatchObject(intact);
    expect(existsSync("/usr")).toBe(true);
  });

  it("does not come back with a tree that was published empty", async () => {
    const source = memorySource();
    await run(source);
    writeFileSync(join(target, "current/added"), "x");
    for (let i = 0; i < 4; i++) {
      source.content = { a: String(i) };
      await run(source, { keep: 1 });
      expect(current()).toEqual({ a: String(i) });
    }
  });

  it("has files whose names are no Unicode", async () => {
    const source = memorySource({ "d/a": "1" });
    await run(source);
    const raw = Buffer.concat([Buffer.from(join(target, "current/d/")), Buffer.from([0xff, 0xfe])]);
    writeFileSync(raw, "planted");
    expect(await verify(target)).toMatchObject({ extra: 1 });
    await repair({ sources: [source], target });
    expect(await verify(target)).toMatchObject(intact);
    source.content = { x: "1" };
    for (let i = 0; i < 4; i++) {
      source.content = { [`x${i}`]: "1" };
      await run(source);
      if (i === 0) {
        const candidate = readdirSync(join(target, ".pannier")).find((name) =>
          name.startsWith("candidate-"),
        ) as string;
        writeFileSync(
          Buffer.concat([
            Buffer.from(join(target, ".pannier", candidate, "/")),
            Buffer.from([0xff]),
          ]),
          "planted",
        );
      }
      expect(await verify(target)).toMatchObject(intact);
    }
  });
});

describe("a rollback", () => {
  it("is not undone in the records by a source that cannot tell whether it changed", async () => {
    const source = memorySource({ a: "1", b: "1" });
    await run(source, { keep: 3 });
    source.content = { a: "2", c: "2" };
    await run(source, { keep: 3 });
    await rollback(target);
    for (let i = 0; i < 2; i++) {
      expect(await run(source, { keep: 3 })).toMatchObject({ result: "unchanged" });
      expect(current()).toEqual({ a: "1", b: "1" });
      expect(await verify(target)).toMatchObject(intact);
    }
    source.content = { a: "2", c: "3" };
    await run(source, { keep: 3 });
    expect(current()).toEqual(source.content);
    expect(await verify(target)).toMatchObject(intact);
  });

  it("holds however many steps back it goes", async () => {
    const source = memorySource();
    for (const revision of ["r1", "r2", "r3"]) {
      source.content = { a: revision };
      source.token = source.revision = revision;
      await run(source, { keep: 3 });
    }
    await rollback(target);
    await rollback(target, "r1");
    expect(await run(source, { keep: 3 })).toMatchObject({ result: "unchanged", revision: "r1" });
    expect(await rollback(target, "r3")).toMatchObject({ revision: "r3" });
    expect(status(target)).toMatchObject({ held: false });
  });

  describe.each([
    ["that tells by a token", true],
    ["that only a listing tells of", false],
  ])("of a source %s", (_, telling) => {
    const show = (source: MemorySource, text: string) => {
      source.content = { a: text };
      if (telling) source.token = source.revision = text;
    };
    const begin = async () => {
      const source = memorySource();
      for (const text of ["one", "two"]) {
        show(source, text);
        await run(source, { keep: 3 });
      }
      return { source, mount: { sources: [source] } };
    };

    it("holds back what it holds now, although no sync has seen that", async () => {
      const { source, mount } = await begin();
      show(source, "three");
      await rollback(target, undefined, { mount });
      expect(current()).toEqual({ a: "one" });
      expect(status(target)).toMatchObject({ held: true });
      for (let time = 0; time < 2; time++) expect(await publishedBy(source)).toBe("one");
      show(source, "four");
      expect(await publishedBy(source)).toBe("four");
      expect(status(target)).toMatchObject({ held: false });
    });

    it("publishes what comes between the rollback and the next sync", async () => {
      const { source, mount } = await begin();
      await rollback(target, undefined, { mount });
      show(source, "three");
      expect(await publishedBy(source)).toBe("three");
    });

    it("holds back what a sync refused", async () => {
      const { source, mount } = await begin();
      show(source, "three");
      await expect(run(source, { keep: 3, prePublish: refuse })).rejects.toThrow("no");
      await rollback(target, undefined, { mount });
      expect(await publishedBy(source)).toBe("one");
      // The state that was rolled back from is another one by now.
      show(source, "two");
      expect(await publishedBy(source)).toBe("two");
    });

    it("holds back what the next sync finds, where it does not answer", async () => {
      const { source, mount } = await begin();
      const open = source.adapter;
      Object.assign(source, { adapter: { ...open, open: away } });
      const events: string[] = [];
      await rollback(target, undefined, { mount, onEvent: ({ type }) => events.push(type) });
      expect(events).toContain("warning");
      Object.assign(source, { adapter: open });
      show(source, "three");
      for (let time = 0; time < 2; time++) expect(await publishedBy(source)).toBe("one");
      show(source, "four");
      expect(await publishedBy(source)).toBe("four");
    });

    it("holds back nothing where it goes to what the source holds", async () => {
      const { source, mount } = await begin();
      await rollback(target, undefined, { mount });
      show(source, "three");
      const [two] = history(target).slice(1);
      show(source, "two");
      await rollback(target, two?.revision, { mount });
      expect(current()).toEqual({ a: "two" });
      expect(status(target)).toMatchObject({ held: false });
    });
  });

  it("holds back a source, and not another one that has the same token", async () => {
    const source = memorySource();
    for (const text of ["one", "two"]) {
      source.content = { a: text };
      source.token = text;
      await run(source);
    }
    await rollback(target, undefined, { mount: { sources: [source] } });
    expect(await run(source)).toMatchObject({ result: "unchanged" });
    // As `path=` is changed, at the same commit.
    Object.assign(source, { location: { ...source.location, pathname: "/other" } });
    source.content = { b: "two" };
    await run(source);
    expect(current()).toEqual({ b: "two" });
    expect(status(target)).toMatchObject({ held: false });
  });

  it("does not hold back what other filters make of the same state", async () => {
    const source = memorySource();
    for (const text of ["one", "two"]) {
      source.content = { a: text, b: text };
      source.token = text;
      await run(source, { exclude: ["c"] });
    }
    // As from the command line, which does not know the filters.
    await rollback(target, undefined, { mount: { sources: [source] } });
    for (let time = 0; time < 2; time++)
      expect(await run(source, { exclude: ["c"] })).toMatchObject({ result: "unchanged" });
    expect(current()).toEqual({ a: "one", b: "one" });
    await run(source, { exclude: ["b"] });
    expect(current()).toEqual({ a: "two" });
    expect(status(target)).toMatchObject({ held: false });
  });

  it("asks nobody where there is nothing to go back to", async () => {
    const source = memorySource({ a: "1" });
    await run(source);
    let asked = 0;
    const mount = async () => {
      asked++;
      return { sources: [source] };
    };
    await expect(rollback(target, undefined, { mount })).rejects.toThrow(
      "no older revision is kept",
    );
    source.content = { a: "2" };
    await run(source);
    await expect(rollback(target, "other", { mount })).rejects.toThrow("is not kept");
    expect(asked).toBe(0);
    await rollback(target, undefined, { mount });
    expect(asked).toBe(1);
  });

  it("is not refused for what the held back state would delete", async () => {
    const source = memorySource(
      Object.fromEntries(Array.from({ length: 30 }, (_, i) => [`f${i}`, "x"])),
    );
    await run(source);
    source.content = { f1: "x" };
    await run(source, { maxDelete: "100%" });
    await rollback(target);
    expect(await run(source)).toMatchObject({ result: "unchanged", files: 30 });
  });

  it("brings back what lies under another layer", async () => {
    const below = memorySource({ a: "b1", b: "b1" }, "below");
    const above = memorySource({ c: "1" }, "above");
    tell(below, "b1");
    tell(above, "a1");
    await layered([below, above], { keep: 5 });
    above.content = { a: "above", c: "2" };
    tell(above, "a2");
    await layered([below, above], { keep: 5 });
    below.content = { a: "b2", b: "b2" };
    tell(below, "b2");
    await layered([below, above], { keep: 5 });
    await rollback(target, history(target)[1]?.revision);
    expect(current()).toEqual({ a: "above", b: "b1", c: "2" });
    // The source below is again as it was then; uncovering what it has must not ask for what it had in between.
    below.content = { a: "b1", b: "b1" };
    tell(below, "b1");
    above.content = { c: "3" };
    tell(above, "a3");
    await layered([below, above], { keep: 5 });
    expect(current()).toEqual({ a: "b1", b: "b1", c: "3" });
    expect(await verify(target)).toMatchObject(intact);
  });

  it("works though a covered file has gone since", async () => {
    const below = memorySource({ a: "below", b: "1" }, "below");
    const above = memorySource({ c: "1" }, "above");
    await layered([below, above], { keep: 5 });
    above.content = { a: "above", c: "1" };
    await layered([below, above], { keep: 5 });
    below.content = { b: "1" };
    expect(await layered([below, above], { keep: 5 })).toMatchObject({ result: "unchanged" });
    await rollback(target);
    expect(current()).toEqual({ a: "below", b: "1", c: "1" });
    expect(await verify(target)).toMatchObject(intact);
  });
});

describe("symlinks", () => {
  it("that come later are judged as those of the first sync are", async () => {
    const source = memorySource({ a: "1" });
    await run(source);
    for (const content of [
      { a: "1", l: { link: "/etc/passwd" } },
      { a: { link: "../../etc/passwd" } },
    ]) {
      source.content = content;
      await expect(run(source)).rejects.toThrow("outside the tree");
      expect(current()).toEqual({ a: "1" });
    }
    source.content = { a: "1", l: { link: "a" } };
    await run(source);
    source.content = { a: "1", l: { link: "/etc/passwd" } };
    await expect(run(source)).rejects.toThrow("outside the tree");
    expect(current()).toEqual({ a: "1", l: "-> a" });
  });

  it("are brought back when the policy no longer leaves them out", async () => {
    const source = memorySource({ a: "1", out: { link: "/etc/hosts" } });
    await run(source, { symlinks: "skip" });
    expect(current()).toEqual({ a: "1" });
    await expect(run(source, { symlinks: "inside" })).rejects.toThrow("outside the tree");
    await run(source, { symlinks: "all" });
    expect(current()).toEqual({ a: "1", out: "-> /etc/hosts" });
    await run(source, { symlinks: "skip" });
    expect(await run(source, { symlinks: "skip" })).toMatchObject({
      result: "unchanged",
      files: 1,
    });
  });

  it("left out come back when another link makes them stay inside", async () => {
    const source = memorySource({ "d/e/f": "1", x: { link: "d" }, l: { link: "x/../../d" } });
    await run(source, { symlinks: "skip" });
    expect(current()["l"]).toBeUndefined();
    source.content = { "d/e/f": "1", x: { link: "d/e" }, l: { link: "x/../../d" } };
    await run(source, { symlinks: "skip" });
    expect(current()).toMatchObject({ l: "-> x/../../d" });
  });

  it("left out of an upper layer are counted right when they are uncovered", async () => {
    const below = memorySource({ l: { link: "/etc" }, a: "1" }, "below");
    const above = memorySource({ l: "file", b: "1" }, "above");
    await layered([below, above], { symlinks: "skip" });
    above.content = { b: "1" };
    expect(await layered([below, above], { symlinks: "skip" })).toMatchObject({
      deleted: 1,
      files: 2,
    });
    expect(current()).toEqual({ a: "1", b: "1" });
  });
});

describe("names", () => {
  it("refuses a file where a directory stays that only lost its first file", async () => {
    const source = memorySource({ "x/a": "1", "x/b": "1" });
    await run(source);
    source.content = { x: "file", "x/b": "1" };
    await expect(run(source)).rejects.toThrow("cannot be both");
    expect(current()).toEqual({ "x/a": "1", "x/b": "1" });
  });
});

describe("a layer's rows", () => {
  it("do not look like meddling when they are covered", async () => {
    const below = memorySource({ a: "below", b: "below" }, "below");
    const above = memorySource({ c: "0" }, "above");
    await layered([below, above]);
    const healed: string[] = [];
    for (let i = 1; i < 6; i++) {
      above.content = { a: "above", c: String(i) };
      await layered([below, above], {
        onEvent: (event) => event.type === "healed" && healed.push(event.message),
      });
    }
    expect(healed).toEqual([]);
  });
});

describe("a plan", () => {
  it("leaves a mirror half carried out as it is", async () => {
    const source = memorySource({ a: "1", b: "1" });
    await mirror(source);
    source.content = { a: "2", b: "2" };
    await expect(run(source, { publish: "mirror", onEvent: blockB })).rejects.toThrow(/"b"/);
    rmSync(join(target, "b"), { recursive: true });
    const half = { a: "2" };
    expect(readTree(target)).toEqual(half);
    const options = { sources: [source], target, publish: "mirror" } as const;
    expect(await plan(options)).toMatchObject({ changed: 2 });
    expect(readTree(target)).toEqual(half);
    await mirror(source);
    expect(readTree(target)).toEqual(source.content);
  });

  it("makes and moves no link, and removes nobody's cache", async () => {
    const source = memorySource({ a: "1" });
    await run(source);
    mkdirSync(join(target, ".pannier/scratch/cache"), { recursive: true });
    await plan({ sources: [source], target, link: "other" });
    expect(readdirSync(target).toSorted()).toEqual([".pannier", "current"]);
    unlinkSync(join(target, "current"));
    await plan({ sources: [source], target });
    expect(readdirSync(target)).toEqual([".pannier"]);
    expect(readdirSync(join(target, ".pannier/scratch"))).toEqual(["cache"]);
    await run(source);
    expect(current()).toEqual({ a: "1" });
  });
});

describe("a mirrored target", () => {
  it("says what is in the way before it changes anything", async () => {
    const source = memorySource({ a: "1", b: "1" });
    await mirror(source);
    unlinkSync(join(target, "b"));
    mkdirSync(join(target, "b"));
    writeFileSync(join(target, "b/theirs"), "");
    source.content = { a: "2", b: "2" };
    await expect(mirror(source)).rejects.toThrow(/in the way at "b"/);
    expect(readTree(target)).toEqual({ a: "1", "b/theirs": "" });
    rmSync(join(target, "b"), { recursive: true });
    await mirror(source);
    expect(readTree(target)).toEqual({ a: "2", b: "2" });
  });

  it("finishes what could not be carried out once that is possible", async () => {
    const source = memorySource({ a: "1", b: "1" });
    await mirror(source);
    source.content = { a: "2", b: "2" };
    await expect(run(source, { publish: "mirror", onEvent: blockB })).rejects.toThrow(/"b"/);
    await expect(mirror(source)).rejects.toThrow(/"b"/);
    rmSync(join(target, "b"), { recursive: true });
    source.content = { a: "3", b: "2" };
    await mirror(source);
    expect(readTree(target)).toEqual(source.content);
    expect(await verify(target)).toMatchObject(intact);
    expect(litterOf(target)).toEqual([]);
  });
});

describe("a source that does not behave", () => {
  it("does not keep the target locked when it cannot be closed", async () => {
    const source = memorySource({ a: "1" });
    const { open } = source.adapter;
    const broken = {
      ...source.adapter,
      open: async (...args: Parameters<typeof open>) => ({
        ...(await open(...args)),
        close: () => Promise.reject(new Error("cannot close")),
      }),
    };
    await sync({ sources: [{ ...source, adapter: broken }], target });
    await run(source);
    source.beforeList = down;
    await expect(sync({ sources: [{ ...source, adapter: broken }], target })).rejects.toThrow(
      "down",
    );
  });

  it("cannot hold up a sync beyond its time by a listing that never comes", async () => {
    const source = memorySource({ a: "1" });
    source.beforeList = () => new Promise(() => {});
    await expect(run(source, { timeout: 100 })).rejects.toThrow("took longer than");
    source.beforeList = () => {};
    await run(source);
    expect(current()).toEqual({ a: "1" });
  });
});

describe("what vanishes between two syncs of one mount", () => {
  it.each(["candidate", "scratch"])("%s", async (what) => {
    const { follow } = await import("../src/index.ts");
    const source = memorySource({ a: "0", b: "same" });
    const stop = new AbortController();
    let published = 0;
    for await (const event of follow(
      { sources: [source], target, period: 5 },
      { signal: stop.signal },
    )) {
      if (event.type === "failed") throw event.error;
      if (event.type !== "published") continue;
      for (const name of readdirSync(join(target, ".pannier")))
        if (name.startsWith(what)) rmSync(join(target, ".pannier", name), { recursive: true });
      expect(current()).toEqual(source.content);
      source.content = { a: String(++published), b: "same" };
      if (published === 6) stop.abort();
    }
    expect(published).toBe(6);
  });
});

describe("a file system without hard links", () => {
  afterEach(() => syncBuiltinESMExports());

  it("gets whole files instead", async () => {
    const { linkSync } = fs;
    fs.linkSync = () => {
      throw Object.assign(new Error("not permitted"), { code: "EPERM", syscall: "link" });
    };
    syncBuiltinESMExports();
    fs.linkSync = linkSync;
    const source = memorySource();
    for (let i = 0; i < 5; i++) {
      source.content = { a: String(i), b: { text: "same", fingerprint: String(i) }, c: "same" };
      await run(source);
      expect(current()).toEqual({ a: String(i), b: "same", c: "same" });
      expect(await verify(target)).toMatchObject(intact);
    }
  });
});
