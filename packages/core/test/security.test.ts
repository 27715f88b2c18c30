/**
 * Lessons from others' advisories that concern the engine. The one who attacks is whoever can write to the target, usually the
 * application that it is mounted into; what must not be touched is anything outside of it.
 */
import assert from "node:assert/strict";
import { type ChildProcess, spawn, spawnSync } from "node:child_process";
import { once } from "node:events";
import {
  chmodSync,
  existsSync,
  linkSync,
  lstatSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  symlinkSync,
  unlinkSync,
  utimesSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { history, repair, sync, type SyncOptions, verify } from "../src/index.ts";
import type { PublishedRow } from "../src/state/row.ts";
import { copyPublished } from "../src/volume/copy.ts";
import { makePause } from "../src/timing/slices.ts";
import { removeTree } from "../src/volume/remove.ts";
import { openTree } from "../src/volume/tree.ts";
import { READING } from "../src/volume/tree-settings.ts";
import { type MemorySource, memorySource } from "./memory-source.ts";
import { readTree } from "./trees.ts";
import { FROM_SOURCES } from "../../../test/support/from-sources.ts";

let target: string;
let outside: string;
let children: ChildProcess[];

beforeEach(() => {
  target = mkdtempSync(join(tmpdir(), "pannier-test-"));
  outside = mkdtempSync(join(tmpdir(), "pannier-outside-"));
  writeFileSync(join(outside, "secret"), "secret", { mode: 0o600 });
  children = [];
});

afterEach(async () => {
  for (const child of children) {
    child.kill("SIGKILL");
    if (child.exitCode === null && child.signalCode === null) await once(child, "exit");
  }
  rmSync(target, { recursive: true, force: true });
  rmSync(outside, { recursive: true, force: true });
});

const run = (source: MemorySource, options: Partial<SyncOptions> = {}) =>
  sync({ sources: [source], target, ...options });
const current = () => readTree(join(target, "current"));

/** Nothing came, nothing went, nothing was changed. */
function expectOutsideUntouched(also: readonly string[] = []): void {
  expect(readdirSync(outside).toSorted()).toEqual(["secret", ...also].toSorted());
  expect(readFileSync(join(outside, "secret"), "utf8")).toBe("secret");
  expect(statSync(join(outside, "secret")).mode & 0o777).toBe(0o600);
}

/** A process that runs JavaScript, given `target` and `outside`, over and over. */
async function attack(script: string): Promise<void> {
  const child = spawn(
    process.execPath,
    [
      "-e",
      `const fs = require("node:fs"); const { join } = require("node:path");
       const [target, outside] = process.argv.slice(1); const attempt = (work) => { try { work(); } catch {} };
       console.log("attacking"); (function round() { for (let i = 0; i < 20; i++) { ${script} } setImmediate(round); })();`,
      target,
      outside,
    ],
    { stdio: ["ignore", "pipe", "inherit"] },
  );
  children.push(child);
  await once(child.stdout as NonNullable<typeof child.stdout>, "data");
}

const TOGGLE = `
  attempt(() => fs.renameSync(place, join(target, "aside-" + process.pid)));
  attempt(() => fs.symlinkSync(outside, place));
  attempt(() => fs.unlinkSync(place));
  attempt(() => fs.renameSync(join(target, "aside-" + process.pid), place));`;

const revision = (number: number) => ({
  ...Object.fromEntries(
    Array.from({ length: 10 }, (_, i) => [
      `d/e/f${i}`,
      i % 3 === number % 3 ? `${number}` : "same",
    ]),
  ),
  "d/secret": `not ${number}`,
  [`d/gone${number}`]: "x",
});

describe("a planted symlink is not written through (CVE-2026-54572)", () => {
  it("in a mirrored target, while it is being written", async () => {
    const source = memorySource(revision(0));
    await run(source, { publish: "mirror" });
    await attack(`const place = join(target, i % 2 ? "d" : "d/e"); ${TOGGLE}`);
    let failures = 0;
    for (let i = 1; i < 60; i++) {
      source.content = revision(i);
      await run(source, { publish: "mirror" }).catch(() => failures++);
    }
    expectOutsideUntouched();
    expect(failures).toBeLessThan(60);
  });

  it(
    "in the published tree and in the next one, while it is being written",
    { timeout: 60_000 },
    async () => {
      const source = memorySource(revision(0));
      await run(source);
      await attack(`
      const trees = [join(target, "current"), ...fs.readdirSync(join(target, ".pannier")).filter((name) => name.startsWith("candidate-")).map((name) => join(target, ".pannier", name))];
      for (const tree of trees) { const place = join(tree, "d"); ${TOGGLE} }`);
      for (let i = 1; i < 60; i++) {
        source.content = revision(i);
        await run(source).catch(() => {});
      }
      expectOutsideUntouched();
      const [child] = children as [ChildProcess];
      child.kill("SIGKILL");
      await once(child, "exit");
      await repair({ sources: [source], target });
      expect(current()).toEqual(source.content);
      expect(await verify(target)).toMatchObject({ changed: 0, missing: 0, extra: 0 });
    },
  );

  it(
    "nor is it cleaned up behind, while a tree is being removed (CVE-2022-21658)",
    { timeout: 60_000 },
    async () => {
      await attack(`const place = join(target, "tree", i % 2 ? "d" : "d/e"); ${TOGGLE}`);
      for (let i = 0; i < 150; i++) {
        const tree = join(target, "tree");
        for (let tries = 0; ; tries++) {
          try {
            mkdirSync(join(tree, "d/e"), { recursive: true });
            for (let j = 0; j < 5; j++) writeFileSync(join(tree, `d/e/f${j}`), "");
            writeFileSync(join(tree, "d/secret"), "", { flag: "wx" });
            break;
          } catch {
            // The other process was quicker.
            if (tries > 100) break;
          }
        }
        writeFileSync(join(outside, "secret"), "secret");
        try {
          await removeTree(tree, makePause());
        } catch (error) {
          assert.match(
            (error as NodeJS.ErrnoException).code ?? "",
            /^(ENOTEMPTY|ENOTDIR|ELOOP|ENOENT)$/,
          );
        }
        expect(readFileSync(join(outside, "secret"), "utf8")).toBe("secret");
      }
    },
  );

  it("in place of the next tree", async () => {
    const source = memorySource({ a: "0" });
    for (let i = 1; i < 5; i++) {
      source.content = { a: String(i) };
      await run(source);
    }
    const home = join(target, ".pannier");
    const candidate = readdirSync(home).find((name) => name.startsWith("candidate-")) as string;
    rmSync(join(home, candidate), { recursive: true });
    symlinkSync(outside, join(home, candidate));
    source.content = { a: "5", b: "5" };
    await run(source);
    expectOutsideUntouched();
    expect(current()).toEqual(source.content);
  });
});

describe("what is in .pannier is taken for ours only when it is what we made", () => {
  it.each(["", "/generations", "/scratch", "/state.db", "/lock"])(
    "refuses a symlink at .pannier%s",
    async (path) => {
      const source = memorySource({ a: "1" });
      await run(source);
      mkdirSync(join(outside, "files"));
      const place = join(target, `.pannier${path}`);
      rmSync(place, { recursive: true, force: true });
      symlinkSync(path.includes(".db") || path === "/lock" ? join(outside, "new") : outside, place);
      source.content = { a: "2" };
      await expect(run(source)).rejects.toMatchObject({ name: "TargetError" });
      expectOutsideUntouched(["files"]);
      unlinkSync(place);
      await run(source);
      expect(current()).toEqual({ a: "2" });
    },
  );

  it.each(["-wal", "-shm", "-journal"])("refuses a symlink at state.db%s", async (suffix) => {
    const source = memorySource({ a: "1" });
    await run(source);
    const place = join(target, `.pannier/state.db${suffix}`);
    rmSync(place, { force: true });
    symlinkSync(join(outside, "secret"), place);
    await expect(run(source)).rejects.toMatchObject({ name: "TargetError" });
    expectOutsideUntouched();
  });

  it("refuses a hard link to another file as its state", async () => {
    const source = memorySource({ a: "1" });
    await run(source);
    unlinkSync(join(target, ".pannier/state.db"));
    linkSync(join(outside, "secret"), join(target, ".pannier/state.db"));
    await expect(run(source)).rejects.toMatchObject({ name: "TargetError" });
    expectOutsideUntouched();
  });
});

describe("a file of somebody else is not changed through its name in the tree", () => {
  it("a hard link in place of a published file", async () => {
    const source = memorySource({ a: { text: "1", mode: 0o644 }, b: "1", c: "1" });
    await run(source);
    for (const name of ["a", "b", "c"]) {
      unlinkSync(join(target, "current", name));
      linkSync(join(outside, "secret"), join(target, "current", name));
    }
    source.content = { a: { text: "1", mode: 0o755 }, b: "2", c: "1", d: "1" };
    await run(source);
    expectOutsideUntouched();
    await run(source, { dirMode: 0o711 });
    await repair({ sources: [source], target });
    expectOutsideUntouched();
    expect(current()).toEqual({ a: "1", b: "2", c: "1", d: "1" });
  });

  it("a hard link in place of a mirrored file", async () => {
    const source = memorySource({ a: { text: "1", mode: 0o644 }, b: "1" });
    await run(source, { publish: "mirror" });
    for (const name of ["a", "b"]) {
      unlinkSync(join(target, name));
      linkSync(join(outside, "secret"), join(target, name));
    }
    source.content = { a: { text: "1", mode: 0o755 }, b: "2" };
    await run(source, { publish: "mirror" });
    expectOutsideUntouched();
    expect(readTree(target)).toEqual({ a: "1", b: "2" });
  });

  it.runIf(process.getuid?.() === 0)(
    "owner and mode of what a planted link leads to (CVE-2024-52522, CVE-2026-88016)",
    async () => {
      const source = memorySource({ "d/a": "1", x: "1" });
      const owner = { uid: 4242, gid: 4242 };
      await run(source, { owner });
      expect(lstatSync(join(target, "current/d/a"))).toMatchObject(owner);
      expect(lstatSync(join(target, "current/d"))).toMatchObject(owner);
      expect(statSync(join(target, "current"))).toMatchObject(owner);
      renameSync(join(target, "current/d"), join(target, "aside"));
      symlinkSync(outside, join(target, "current/d"));
      source.content = { "d/a": "2", "d/b": "2", x: "2" };
      await run(source, { owner, dirMode: 0o700 });
      expect(current()).toEqual(source.content);
      expect(statSync(outside)).toMatchObject({ uid: 0 });
      expect(statSync(join(outside, "secret"))).toMatchObject({ uid: 0 });
      expectOutsideUntouched();
    },
  );
});

/** Copies it to `copy` in the target, with mode 0640. */
async function copyOf(recorded: PublishedRow) {
  const tree = openTree(target, READING);
  try {
    return await copyPublished(tree, recorded, join(target, "copy"), 0o640, undefined);
  } finally {
    tree.close();
  }
}

describe("what is copied from the published tree is what was published", () => {
  const row: PublishedRow = {
    path: "d/a",
    layer: 0,
    since: 1,
    kind: 0,
    size: 7,
    mode: 0o644,
    mtime: null,
    fingerprint: "1",
    ref: null,
    sha256: "2",
    ino: null,
    disk_mtime: null,
  };
  const published = () => {
    mkdirSync(join(target, "d"));
    writeFileSync(join(target, "d/a"), "content");
    utimesSync(join(target, "d/a"), 1e9, 1e9);
    const { ino, mtimeMs } = statSync(join(target, "d/a"));
    return { ...row, ino, disk_mtime: mtimeMs };
  };

  it("with its time and another mode", async () => {
    const recorded = published();
    // No bit of it comes along, whoever set it.
    chmodSync(join(target, "d/a"), 0o6777);
    const copied = await copyOf(recorded);
    const { mode, ino, mtimeMs } = lstatSync(join(target, "copy"));
    expect(mode & 0o7777).toBe(0o640);
    expect(mtimeMs).toBe(recorded.disk_mtime);
    expect(copied).toEqual({ size: 7, sha256: "2", ino, disk_mtime: mtimeMs });
    expect(readFileSync(join(target, "copy"), "utf8")).toBe("content");
  });

  it.each<[string, (file: string) => void]>([
    ["a symlink", (file) => symlinkSync(join(outside, "secret"), file)],
    ["a hard link", (file) => linkSync(join(outside, "secret"), file)],
    ["a FIFO", (file) => spawnSync("mkfifo", [file])],
    ["nothing", () => {}],
    [
      "nothing, behind a link",
      (file) => {
        rmSync(join(file, ".."), { recursive: true });
        symlinkSync(outside, join(file, ".."));
      },
    ],
  ])("and not %s in its place, whenever it came there", async (_, plant) => {
    const recorded = published();
    unlinkSync(join(target, "d/a"));
    plant(join(target, "d/a"));
    expect(await copyOf(recorded)).toBeUndefined();
    expect(existsSync(join(target, "copy"))).toBe(false);
    expectOutsideUntouched();
  });

  it("nor anything over what is there already", async () => {
    const recorded = published();
    symlinkSync(join(outside, "secret"), join(target, "copy"));
    await expect(copyOf(recorded)).rejects.toThrow("EEXIST");
    expectOutsideUntouched();
  });
});

it("what is Pannier's own is not left writable for a group", async () => {
  const source = memorySource({ a: "1" });
  await run(source);
  const state = join(target, ".pannier/state.db");
  // As a volume that is given to a group (Kubernetes' fsGroup).
  chmodSync(state, 0o664);
  await run(source);
  expect(statSync(state).mode & 0o777).toBe(0o644);
});

describe("what is not a file is not opened", () => {
  it("a FIFO or a device in place of a published file", async () => {
    const source = memorySource({ fifo: "1", device: "1", c: "1" });
    await run(source);
    for (const name of ["fifo", "device"]) unlinkSync(join(target, "current", name));
    spawnSync("mkfifo", [join(target, "current/fifo")]);
    // Only root can make one; then there is just a file missing.
    spawnSync("mknod", [join(target, "current/device"), "c", "1", "5"]);
    const report = await verify(target);
    expect(report.changed + report.missing).toBe(2);
    source.content = { fifo: { text: "1", mode: 0o755 }, device: "1", c: "2" };
    await run(source);
    await repair({ sources: [source], target });
    expect(current()).toEqual({ fifo: "1", device: "1", c: "2" });
  });
});

describe("a source hands out no privileges", () => {
  it("drops set-user-id, set-group-id and sticky", async () => {
    await run(memorySource({ a: { text: "x", mode: 0o6755 }, b: { text: "x", mode: 0o1777 } }));
    expect(statSync(join(target, "current/a")).mode & 0o7777).toBe(0o755);
    expect(statSync(join(target, "current/b")).mode & 0o7777).toBe(0o777);
  });
});

describe("`..` in a path does not leave the target (CVE-2026-71313)", () => {
  it.each(["../secret", "d/../../secret", "/secret", "..", "d/.."])("%s", async (path) => {
    const source = memorySource({ ok: "1" });
    await run(source);
    source.content = { ok: "2", [path]: "bad" };
    source.ordered = false;
    await expect(run(source)).rejects.toMatchObject({ cause: { code: "invalid" } });
    expect(current()).toEqual({ ok: "1" });
    expect(existsSync(join(target, "secret"))).toBe(false);
  });
});

describe("a process without privileges", () => {
  const child = join(import.meta.dirname, "unprivileged-child.ts");
  it.runIf(process.getuid?.() === 0)("leaves another user's target alone", async () => {
    const source = memorySource({ a: "1" });
    await run(source);
    chmodSync(target, 0o777);
    const { status, stderr } = spawnSync(
      process.execPath,
      [...FROM_SOURCES, child, target, "0o755", "022"],
      { encoding: "utf8" },
    );
    expect(stderr).toContain(`TargetError: the target ${target} belongs to the Pannier of user 0`);
    expect(status).not.toBe(0);
    expect(current()).toEqual(source.content);
  });

  it.runIf(process.getuid?.() === 0).each([
    ["0o755", "077"],
    ["0o555", "022"],
    ["0o550", "077"],
  ])("syncs with dirMode %s under umask %s", (dirMode, umask) => {
    chmodSync(target, 0o777);
    const { status, stderr } = spawnSync(
      process.execPath,
      [...FROM_SOURCES, child, target, dirMode, umask],
      { encoding: "utf8" },
    );
    expect(stderr).toBe("");
    expect(status).toBe(0);
    for (const { path, published } of history(target)) {
      if (path === undefined || !published) continue;
      expect(statSync(path).mode & 0o777).toBe(Number(dirMode));
      for (const entry of readdirSync(path, { recursive: true, withFileTypes: true })) {
        const { mode } = statSync(join(entry.parentPath, entry.name));
        expect([entry.name, mode & 0o777]).toEqual([
          entry.name,
          entry.isDirectory() ? Number(dirMode) : 0o644,
        ]);
      }
    }
    expect(statSync(join(target, ".pannier")).mode & 0o777).toBe(0o755);
    expect(statSync(join(target, ".pannier/generations")).mode & 0o777).toBe(0o755);
  });
});
