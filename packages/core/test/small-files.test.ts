import { execFileSync } from "node:child_process";
import {
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statfsSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { describe, expect, onTestFinished, test } from "vitest";
import { refuseThreads } from "../../../test/support/no-threads.ts";
import { FILES_AHEAD, openSmallFiles, type SmallFile } from "../src/transfer/small-files.ts";

const MANY = 1000;

function scene(expected: number) {
  const dir = mkdtempSync(join(tmpdir(), "pannier-small-"));
  const files = openSmallFiles(expected);
  onTestFinished(() => {
    files.close();
    rmSync(dir, { recursive: true, force: true });
  });
  const file = (name: string, text = name, more: Partial<SmallFile> = {}): SmallFile => ({
    path: join(dir, name),
    chunks: [Buffer.from(text)],
    mode: 0o644,
    ...more,
  });
  return { dir, files, file };
}

describe.each([
  ["one by one", 1],
  ["in threads", MANY],
])("%s", (_, expected) => {
  test("content, times and modes are as asked for, and the facts those on the volume", async () => {
    const { dir, files, file } = scene(expected);
    const umask = process.umask(0o077);
    onTestFinished(() => void process.umask(umask));
    const wanted = Array.from({ length: MANY }, (__, i) =>
      file(`f${i}`, "", {
        chunks: [Buffer.from(`${i}:`), Buffer.alloc(i % 50, "x")],
        mode: i % 2 === 0 ? 0o755 : 0o644,
        mtime: i === 0 ? undefined : i === 1 ? -1500 : 1_700_000_000_000 + i,
      }),
    );
    const facts = await Promise.all(wanted.map((one) => files.write(one)));
    expect(readdirSync(dir)).toHaveLength(MANY);
    for (const [i, { path, mode, mtime }] of wanted.entries()) {
      const stats = statSync(path);
      expect(facts[i]).toEqual({ ino: stats.ino, mtime: stats.mtimeMs });
      expect(stats.mode & 0o7777).toBe(mode);
      expect(Math.round(stats.mtimeMs)).toBe(mtime ?? Math.round(stats.mtimeMs));
      expect(readFileSync(path, "utf8")).toBe(`${i}:${"x".repeat(i % 50)}`);
    }
  });

  test("what is there is neither replaced nor followed, and what else is under way comes through", async () => {
    const { dir, files, file } = scene(expected);
    writeFileSync(join(dir, "there"), "old");
    symlinkSync("nowhere", join(dir, "link"));
    const results = await Promise.allSettled(
      ["there", "link", "sub/missing", "fine"].map((name) => files.write(file(name, "new"))),
    );
    expect(results.map((one) => one.status === "rejected" && one.reason)).toEqual([
      expect.objectContaining({ code: "EEXIST" }),
      expect.objectContaining({ code: "EEXIST" }),
      expect.objectContaining({ code: "ENOENT", message: expect.stringContaining("missing") }),
      false,
    ]);
    expect(readdirSync(dir).toSorted()).toEqual(["fine", "link", "there"]);
    expect(readFileSync(join(dir, "there"), "utf8")).toBe("old");
  });

  test("an empty file", async () => {
    const { files, file } = scene(expected);
    await files.write(file("none", "", { chunks: [] }));
    await files.write(file("empty"));
    expect(statSync(file("none").path).size).toBe(0);
  });
});

test("a full volume fails with ENOSPC and keeps nothing of the file", async (context) => {
  const dir = mkdtempSync(join(tmpdir(), "pannier-small-full-"));
  try {
    execFileSync("mount", ["-t", "tmpfs", "-o", "size=64k", "none", dir], { stdio: "ignore" });
  } catch {
    rmSync(dir, { recursive: true });
    return context.skip("needs the permission to mount a tmpfs");
  }
  onTestFinished(() => {
    execFileSync("umount", [dir]);
    rmSync(dir, { recursive: true });
  });
  const files = openSmallFiles(MANY);
  onTestFinished(() => files.close());
  const free = statfsSync(dir).bfree;
  const chunks = [Buffer.alloc(60_000)];
  await files.write({ path: join(dir, "first"), chunks, mode: 0o644 });
  await expect(files.write({ path: join(dir, "second"), chunks, mode: 0o644 })).rejects.toThrow(
    expect.objectContaining({ code: "ENOSPC" }),
  );
  expect(readdirSync(dir)).toEqual(["first"]);
  rmSync(join(dir, "first"));
  expect(statfsSync(dir).bfree).toBe(free);
  return undefined;
});

test("a caller that waits for no more than may be ahead never waits for ever", async () => {
  const { files, file } = scene(MANY);
  const waiting = new Set<Promise<unknown>>();
  for (let i = 0; i < MANY; i++) {
    const written: Promise<unknown> = files
      .write(file(`f${i}`))
      .then(() => waiting.delete(written));
    waiting.add(written);
    if (waiting.size >= FILES_AHEAD) await Promise.race(waiting);
  }
  await Promise.all(waiting);
  expect(waiting.size).toBe(0);
});

test("what is not written when it is closed fails, as does what comes later", async () => {
  const { files, file } = scene(MANY);
  const writing = files.write(file("a"));
  files.close();
  await expect(writing).rejects.toThrow("over");
  await expect(files.write(file("b"))).rejects.toThrow("over");
});

test("where the system has no room for a thread, files are written without one", async () => {
  refuseThreads();
  const { dir, files, file } = scene(MANY);
  const names = Array.from({ length: 200 }, (_, i) => `file-${i}`);
  const facts = await Promise.all(names.map((name) => files.write(file(name))));
  expect(facts.map(({ ino }) => ino)).toEqual(names.map((name) => statSync(join(dir, name)).ino));
  expect(readFileSync(join(dir, "file-199"), "utf8")).toBe("file-199");
  await expect(files.write(file("file-0"))).rejects.toMatchObject({ code: "EEXIST" });
});
