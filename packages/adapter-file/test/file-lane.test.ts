import { execFileSync } from "node:child_process";
import {
  appendFileSync,
  lstatSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  realpathSync,
  renameSync,
  rmSync,
  symlinkSync,
  utimesSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { sync } from "@pannier/core";
import type { FileEntry, Sink } from "@pannier/core/adapter";
import { afterEach, beforeEach, describe, expect, test, vi } from "vitest";
import { openLane } from "../src/file-lane.ts";
import { fingerprintOf } from "../src/fingerprint.ts";
import { file } from "../src/index.ts";

let root: string;

beforeEach(() => {
  root = realpathSync(mkdtempSync(join(tmpdir(), "pannier-file-lane-")));
  mkdirSync(join(root, "tree/a"), { recursive: true });
});
afterEach(() => {
  rmSync(root, { recursive: true });
  vi.unstubAllEnvs();
});

/** An entry as the walk lists it, of a file that has long been there. */
function put(path: string, content: string): FileEntry {
  const at = join(root, "tree", path);
  writeFileSync(at, content);
  utimesSync(at, 1_700_000_000, 1_700_000_000);
  const stats = lstatSync(at);
  const fingerprint = fingerprintOf(stats, Date.now());
  return { kind: "file", path, size: stats.size, fingerprint };
}

/** What a lane gets of these files, by path. */
function read(
  files: readonly FileEntry[],
  stopAfter = Infinity,
  isFile = false,
  onPut: (path: string) => void = () => {},
) {
  const got: Record<string, string> = {};
  const pathOf = (index: number) => (files[index] as FileEntry).path;
  const sink: Sink = {
    get stopped() {
      return Object.keys(got).length >= stopAfter;
    },
    put(index, content) {
      got[pathOf(index)] = String(content);
      onPut(pathOf(index));
    },
    begin(index) {
      const pieces: Buffer[] = [];
      return {
        write: (piece) => pieces.push(Buffer.from(piece)) > 0,
        end: () => void (got[pathOf(index)] = String(Buffer.concat(pieces))),
        drop: () => {},
      };
    },
    failed: () => {},
    request: () => {},
  };
  const data = { root: join(root, "tree", isFile ? (files[0]?.path ?? "") : ""), isFile };
  const plain = { ...data, root: data.root.replace(/\/$/, "") };
  void openLane({ idleTimeout: 1000, atOnce: 1, mostUnlisted: 0 }).read(
    { files, data: plain },
    sink,
    new AbortController().signal,
  );
  return got;
}

describe("a lane reads", () => {
  test("files of all sizes", () => {
    const texts = ["", "x", "y".repeat(1024 * 1024), "z".repeat(3 * 1024 * 1024 + 1)];
    const files = texts.map((text, index) => put(`a/${index}`, text));
    expect(read(files)).toEqual(Object.fromEntries(texts.map((text, i) => [`a/${i}`, text])));
  });

  test("the one file that is the source", () => {
    expect(read([put("single", "x")], Infinity, true)).toEqual({ single: "x" });
  });

  test("nothing any more once it is stopped", () => {
    expect(read([put("a/1", "1"), put("a/2", "2"), put("a/3", "3")], 2)).toEqual({
      "a/1": "1",
      "a/2": "2",
    });
  });
});

/** Between listing and reading. */
const TAMPERING: Readonly<Record<string, (path: string) => void>> = {
  "is longer": (path) => appendFileSync(path, "more"),
  "has another time": (path) => utimesSync(path, 1_700_000_001, 1_700_000_001),
  "is gone": (path) => rmSync(path),
  "is a link to another with its looks": (path) => {
    renameSync(path, join(root, "outside"));
    symlinkSync(join(root, "outside"), path);
  },
  "lies behind a directory that is a link": (path) => {
    renameSync(join(path, ".."), join(root, "outside"));
    symlinkSync(join(root, "outside"), join(path, ".."));
  },
  "is a directory": (path) => {
    rmSync(path);
    mkdirSync(path);
  },
  "is a FIFO": (path) => {
    rmSync(path);
    execFileSync("mkfifo", [path]);
  },
};

describe("a lane leaves a file that", () => {
  test.each(Object.entries(TAMPERING))("%s, and reads on", (_, tamper) => {
    const [victim, other] = [put("a/victim", "x"), put("other", "y")];
    tamper(join(root, "tree/a/victim"));
    expect(read([victim, other])).toEqual({ other: "y" });
  });

  test("has a name that leads out of the tree", () => {
    put("../outside", "x");
    const entry = { ...put("inside", "x"), path: "../outside" };
    expect(read([entry])).toEqual({});
  });
});

test("nothing comes from a link that takes a directory's place between two of its files", () => {
  const files = ["a/1", "a/2", "b", "a/3"].map((path) => put(path, "listed"));
  mkdirSync(join(root, "outside"));
  // With the size and the time of those listed.
  for (const name of ["1", "2", "3"]) put(`../outside/${name}`, "secret");
  const got = read(files, Infinity, false, (path) => {
    if (path !== "a/1") return;
    renameSync(join(root, "tree/a"), join(root, "moved"));
    symlinkSync(join(root, "outside"), join(root, "tree/a"));
  });
  // The second is that which was listed: its directory was open. Of the last, it is looked for again.
  expect(got).toEqual({ "a/1": "listed", "a/2": "listed", b: "listed" });
});

const openFiles = () => readdirSync("/proc/self/fd").length;

test("it keeps no file open", () => {
  const files = Array.from({ length: 20 }, (_, i) => put(`a/${i}`, String(i)));
  rmSync(join(root, "tree/a/3"));
  const before = openFiles();
  read(files);
  expect(openFiles()).toBe(before);
});

test("a sync has it read what is small, not large files, which might be cloned", async () => {
  vi.stubEnv("PANNIER_TEST_LANES", "always");
  for (let i = 0; i < 300; i++) put(`a/${i}`, `this is ${i}`);
  put("large", "x".repeat(2_000_000));
  const reads: string[] = [];
  const source = file(join(root, "tree"));
  const open: typeof source.adapter.open = async (...init) => {
    const opened = await source.adapter.open(...init);
    return {
      ...opened,
      read(entry, ...how) {
        reads.push(entry.path);
        return opened.read(entry, ...how);
      },
    };
  };
  const result = await sync({
    sources: [{ ...source, adapter: { ...source.adapter, open } }],
    target: join(root, "target"),
  });
  expect(result).toMatchObject({ added: 301, requests: 302 });
  expect(reads).toContain("large");
  // On a machine that is slow enough the lane leaves some, but not the first ones of its batches.
  expect(reads.length).toBeLessThan(301 - 3 * 8);
});
