/** A volume that is too small: what was published stays, and the room is given back. */
import { spawnSync } from "node:child_process";
import {
  closeSync,
  mkdtempSync,
  openSync,
  readFileSync,
  rmSync,
  statfsSync,
  writeSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { follow, sync, type SyncOptions, verify } from "../src/index.ts";
import { checkRoom } from "../src/volume/room.ts";
import { type MemorySource, memorySource } from "./memory-source.ts";
import { litterOf, readTree } from "./trees.ts";

const MiB = 1 << 20;
let target: string;

function mountSmall(options: string): boolean {
  return spawnSync("mount", ["-t", "tmpfs", "-o", options, "none", target]).status === 0;
}

const canMount = (() => {
  target = mkdtempSync(join(tmpdir(), "pannier-mount-"));
  const mounted = mountSmall("size=1m");
  if (mounted) spawnSync("umount", [target]);
  rmSync(target, { recursive: true });
  return mounted;
})();

beforeEach(() => {
  target = mkdtempSync(join(tmpdir(), "pannier-full-"));
});

afterEach(() => {
  spawnSync("umount", [target]);
  rmSync(target, { recursive: true, force: true });
});

const run = (source: MemorySource, options: Partial<SyncOptions> = {}) =>
  sync({ sources: [source], target, ...options });
const current = () => readTree(join(target, "current"));
const noRoom = { name: "NoRoomError", hint: expect.any(String) as string };
const free = () => {
  const { bavail, bsize } = statfsSync(target);
  return bavail * bsize;
};

/** A file that takes all the room there is. */
function fill(file: string): void {
  const out = openSync(file, "w");
  try {
    for (;;) writeSync(out, Buffer.alloc(4096));
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== "ENOSPC") throw error;
  } finally {
    closeSync(out);
  }
}

describe.skipIf(!canMount)(
  "a small volume",
  { meta: { skipReason: "needs the permission to mount a tmpfs" } },
  () => {
    it.each([true, false])("does not take the first sync (sizes are told: %s)", async (sizes) => {
      mountSmall("size=4m");
      const source = memorySource({ a: "x".repeat(3 * MiB), b: "y".repeat(2 * MiB) });
      source.sizes = sizes;
      await expect(run(source)).rejects.toMatchObject(noRoom);
      expect(free()).toBeGreaterThan(3.5 * MiB);
      source.content = { a: "small" };
      await run(source);
      expect(current()).toEqual({ a: "small" });
      expect(litterOf(target)).toEqual([]);
    });

    it.each(["swap", "mirror"] as const)("does not take an update: %s", async (publish) => {
      mountSmall("size=5m");
      const source = memorySource({ a: "x".repeat(MiB), b: "1" });
      source.sizes = false;
      await run(source, { publish });
      const before = free();
      source.content = { a: "z".repeat(2 * MiB), b: "2", c: "y".repeat(3 * MiB) };
      for (let i = 0; i < 3; i++)
        await expect(run(source, { publish })).rejects.toMatchObject(noRoom);
      expect(free()).toBeGreaterThan(before - MiB / 4);
      const root = publish === "swap" ? join(target, "current") : target;
      expect(readTree(root)).toEqual({ a: "x".repeat(MiB), b: "1" });
      expect(await verify(target)).toMatchObject({ changed: 0, missing: 0, extra: 0 });
      source.content = { a: "z".repeat(MiB), b: "2" };
      await run(source, { publish });
      expect(readTree(root)).toEqual(source.content);
      expect(litterOf(target)).toEqual([]);
    });

    it("has no room for the state", async () => {
      mountSmall("size=3m,nr_inodes=100000");
      const source = memorySource({ a: "1" });
      await run(source);
      const before = free();
      source.content = Object.fromEntries(
        Array.from({ length: 12_000 }, (_, i) => [
          `a-name-that-takes-some-room-in-the-state-${i}`,
          "",
        ]),
      );
      for (let i = 0; i < 2; i++) await expect(run(source)).rejects.toMatchObject(noRoom);
      expect(current()).toEqual({ a: "1" });
      source.content = { a: "2" };
      await run(source);
      expect(current()).toEqual({ a: "2" });
      expect(free()).toBeGreaterThan(before / 2);
    });

    it("has no room for the tree that is built ahead, which ends nothing", async () => {
      mountSmall("size=4m");
      const source = memorySource({ a: "1" });
      const filler = join(target, "filler");
      const turn = async (work: () => Promise<void>) => {
        rmSync(filler, { force: true });
        await work();
        if (source.lists > 1) return;
        fill(filler);
        source.content = { a: "2" };
      };
      const stop = new AbortController();
      const options = { sources: [source], target, period: "5ms" };
      for await (const event of follow(options, { turn, signal: stop.signal }))
        if (event.type === "done" && source.lists > 1) stop.abort();
      expect(current()).toEqual({ a: "2" });
    });

    it("keeps a mebibyte for the state and for directories", () => {
      mountSmall("size=8m");
      const room = free();
      expect(() => checkRoom(target, room - MiB / 2, 1)).toThrow(
        "are to be fetched and the volume",
      );
      expect(() => checkRoom(target, room - 1.5 * MiB, 1)).not.toThrow();
    });

    it("has too few inodes", async () => {
      mountSmall("size=20m,nr_inodes=60");
      const source = memorySource({ a: "1" });
      await run(source);
      source.content = Object.fromEntries(Array.from({ length: 100 }, (_, i) => [`f${i}`, "x"]));
      await expect(run(source)).rejects.toMatchObject(noRoom);
      expect(current()).toEqual({ a: "1" });
      source.content = { a: "2" };
      await run(source);
      expect(current()).toEqual({ a: "2" });
    });

    it("is used again and again where each revision replaces everything", async () => {
      mountSmall("size=5m");
      const source = memorySource();
      for (let i = 0; i < 8; i++) {
        source.content = { a: String(i).repeat(1.2 * MiB) };
        await run(source, { keep: 1 });
        expect(readFileSync(join(target, "current/a"), "utf8")).toBe(source.content["a"]);
      }
    });
  },
);
