import { createHash } from "node:crypto";
import { execFileSync } from "node:child_process";
import {
  existsSync,
  linkSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  rmSync,
  statSync,
  symlinkSync,
  truncateSync,
  writeFileSync,
} from "node:fs";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from "vitest";
import type { FileEntry, LocalFile, Source } from "../src/source/contract.ts";
import { SourceError } from "../src/source/errors.ts";
import { fetchFile } from "../src/transfer/fetch-file.ts";
import type { FetchOptions } from "../src/transfer/fetch-options.ts";
import { openRangeHashes } from "../src/transfer/range-hash.ts";
import { openSmallFiles } from "../src/transfer/small-files.ts";
import { createLimiter } from "../src/transfer/limiter.ts";

const rangeHashes = openRangeHashes();
afterAll(() => rangeHashes.close());

let directory: string;
let target: string;
let destination: string;
let original: string;

beforeEach(async () => {
  directory = await mkdtemp(join(tmpdir(), "pannier-local-"));
  enter(directory);
});
afterEach(async () => {
  const open = openFiles();
  await rm(directory, { recursive: true, force: true });
  if (open.length > 0) throw new Error(`left open: ${open.join(", ")}`);
});

/** What this process has open below the directory. */
function openFiles(): string[] {
  if (!existsSync("/proc/self/fd")) return [];
  const paths = readdirSync("/proc/self/fd").map((fd) => {
    try {
      return readlinkSync(`/proc/self/fd/${fd}`);
    } catch {
      // The one of the listing itself.
      return "";
    }
  });
  return paths.filter((path) => path.startsWith(directory));
}

function enter(base: string): void {
  target = join(base, "target");
  mkdirSync(target);
  destination = join(target, "file");
  original = join(base, "original");
}

const CONTENT = Buffer.alloc(2 * 1024 * 1024, "content ");
const SHA256 = createHash("sha256").update(CONTENT).digest("hex");

interface LocalSource extends Source {
  reads: number;
  checks: number;
}

function sourceOf(local: Partial<LocalFile> & { disposable: boolean }): LocalSource {
  const source: LocalSource = {
    reads: 0,
    checks: 0,
    probe: async () => undefined,
    list: () => Promise.reject(new Error("not listed here")),
    localPath: () => ({
      path: original,
      check: async () => {
        source.checks++;
      },
      ...local,
    }),
    read: async () => {
      source.reads++;
      return readFileSync(original);
    },
    close: async () => {},
  };
  return source;
}

function fetching(source: Source, entry: Partial<FileEntry> = {}): FetchOptions {
  return {
    source,
    entry: { kind: "file", path: "a/file", size: CONTENT.length, fingerprint: "1", ...entry },
    destination,
    mode: 0o644,
    mtime: 1_700_000_000_123,
    limits: { maxFileBytes: Infinity },
    idleTimeout: 5000,
    attempts: 1,
    limiter: createLimiter(4),
    smallFiles: openSmallFiles(1),
    rangeHashes,
    signal: new AbortController().signal,
  };
}

function expectFetched(): void {
  expect(readFileSync(destination).equals(CONTENT)).toBe(true);
  const stats = statSync(destination);
  expect(stats.mode & 0o7777).toBe(0o644);
  expect(Math.floor(stats.mtimeMs)).toBe(1_700_000_000_123);
}

describe("a file made for the engine", () => {
  test("is moved, its inode with it, and hashed", async () => {
    writeFileSync(original, CONTENT, { mode: 0o4700 });
    const { ino } = statSync(original);
    const source = sourceOf({ disposable: true });
    expect(await fetchFile(fetching(source))).toMatchObject({ ino, sha256: SHA256 });
    expectFetched();
    expect(readdirSync(directory)).toEqual(["target"]);
    expect(source).toMatchObject({ reads: 0, checks: 1 });
  });

  test("is not hashed again where the adapter did", async () => {
    writeFileSync(original, CONTENT);
    const sha256 = "f".repeat(64);
    const digest = { algorithm: "sha256", value: sha256 } as const;
    expect(await fetchFile(fetching(sourceOf({ disposable: true }), { digest }))).toMatchObject({
      sha256,
    });
  });

  test("of another size than listed is refused, and nothing left in the target", async () => {
    writeFileSync(original, CONTENT.subarray(1));
    await expect(fetchFile(fetching(sourceOf({ disposable: true })))).rejects.toMatchObject({
      code: "changed",
    });
    expect(readdirSync(target)).toEqual([]);
  });

  test("beyond maxFileBytes is refused where its size was not listed", async () => {
    writeFileSync(original, CONTENT);
    const options = fetching(sourceOf({ disposable: true }), { size: undefined });
    await expect(fetchFile({ ...options, limits: { maxFileBytes: 10 } })).rejects.toMatchObject({
      code: "invalid",
    });
    expect(readdirSync(target)).toEqual([]);
  });

  test("that cannot be moved fails, and stays open nowhere", async () => {
    writeFileSync(original, CONTENT);
    rmSync(target, { recursive: true });
    await expect(fetchFile(fetching(sourceOf({ disposable: true })))).rejects.toMatchObject({
      code: "ENOENT",
    });
    expect(openFiles()).toEqual([]);
  });

  test("that has a second name is read instead", async () => {
    writeFileSync(original, CONTENT);
    linkSync(original, join(directory, "second"));
    const source = sourceOf({ disposable: true });
    await fetchFile(fetching(source));
    expectFetched();
    expect(statSync(destination).nlink).toBe(1);
    expect(source.reads).toBe(1);
  });

  test("that turns out to be a symlink is never moved into the tree", async () => {
    writeFileSync(join(directory, "secret"), "secret");
    symlinkSync(join(directory, "secret"), original);
    const source = sourceOf({ disposable: true });
    source.read = () => Promise.reject(new SourceError("invalid", "a symlink"));
    await expect(fetchFile(fetching(source))).rejects.toThrow("a symlink");
    expect(readdirSync(target)).toEqual([]);
  });

  test("that turns out to be a directory is left to the adapter", async () => {
    writeFileSync(original, CONTENT);
    const source = sourceOf({ disposable: true, path: target });
    await fetchFile(fetching(source));
    expectFetched();
    expect(source.reads).toBe(1);
  });
});

describe("a file of the source on a file system that cannot clone, or a small one", () => {
  test("is read", async () => {
    writeFileSync(original, CONTENT);
    const source = sourceOf({ disposable: false });
    expect(await fetchFile(fetching(source))).toMatchObject({ sha256: SHA256 });
    expectFetched();
    expect(statSync(destination).ino).not.toBe(statSync(original).ino);
  });

  test("that exists at the destination already is left as it is", async () => {
    writeFileSync(original, CONTENT);
    writeFileSync(destination, "mine");
    await expect(fetchFile(fetching(sourceOf({ disposable: false })))).rejects.toMatchObject({
      code: "EEXIST",
    });
    expect(readFileSync(destination, "utf8")).toBe("mine");
  });
});

/** A small Btrfs or XFS of our own; `undefined` where mounting is not permitted or the tools are not there. */
function mountReflinks(at: string): string | undefined {
  const image = `${at}.img`;
  for (const make of [
    ["mkfs.xfs", "-q", "-m", "reflink=1"],
    ["mkfs.btrfs", "-q"],
  ]) {
    try {
      writeFileSync(image, "");
      truncateSync(image, 320 * 1024 * 1024);
      execFileSync(make[0] ?? "", [...make.slice(1), image], { stdio: "ignore" });
      mkdirSync(at, { recursive: true });
      execFileSync("mount", ["-o", "loop", image, at], { stdio: "ignore" });
      return at;
    } catch {
      continue;
    }
  }
  rmSync(image, { force: true });
  return undefined;
}

const mountPoint = join(tmpdir(), `pannier-reflink-${process.pid}`);
const mounted = mountReflinks(mountPoint);

describe.skipIf(mounted === undefined)(
  "a file of the source where blocks can be shared",
  { meta: { skipReason: "needs root, loop devices, and mkfs.xfs or mkfs.btrfs" } },
  () => {
    let base: string;
    beforeAll(() => {
      base = mounted ?? "";
    });
    beforeEach(async () => {
      enter(await mkdtemp(join(base, "test-")));
    });
    afterAll(async () => {
      execFileSync("umount", [base]);
      await rm(base, { recursive: true });
      await rm(`${base}.img`);
    });

    test("is cloned, never linked, and then checked", async () => {
      writeFileSync(original, CONTENT);
      const source = sourceOf({ disposable: false });
      expect(await fetchFile(fetching(source))).toMatchObject({ sha256: SHA256 });
      expectFetched();
      expect(source).toMatchObject({ reads: 0, checks: 1 });
      expect(statSync(original).nlink).toBe(1);
      expect(statSync(destination).ino).not.toBe(statSync(original).ino);
    });

    test("that changed meanwhile is refused, and nothing left", async () => {
      writeFileSync(original, CONTENT);
      const changed = sourceOf({
        disposable: false,
        check: () => Promise.reject(new SourceError("changed", "replaced")),
      });
      await expect(fetchFile(fetching(changed))).rejects.toThrow("replaced");
      truncateSync(original, 5);
      await expect(fetchFile(fetching(sourceOf({ disposable: false })))).rejects.toMatchObject({
        code: "changed",
      });
      expect(readdirSync(target)).toEqual([]);
    });

    test("whose checksum is not the one vouched for is refused", async () => {
      writeFileSync(original, CONTENT);
      const digest = { algorithm: "sha256", value: "0".repeat(64) } as const;
      const options = fetching(sourceOf({ disposable: false }), { digest });
      await expect(fetchFile(options)).rejects.toMatchObject({ code: "invalid" });
      expect(readdirSync(target)).toEqual([]);
    });

    test("that is set-user-id is read, so that the clone never is", async () => {
      writeFileSync(original, CONTENT);
      execFileSync("chmod", ["4755", original]);
      const source = sourceOf({ disposable: false });
      await fetchFile(fetching(source));
      expectFetched();
      expect(source.reads).toBe(1);
    });
  },
);
