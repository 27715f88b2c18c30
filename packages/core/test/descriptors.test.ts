/** Whatever comes of it, nothing stays open. */
import { existsSync, mkdtempSync, readdirSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { plan, repair, rollback, sync, type SyncOptions, verify } from "../src/index.ts";
import { memorySource } from "./memory-source.ts";

const PROC = "/proc/self/fd";
let target: string;

beforeEach(() => {
  target = mkdtempSync(join(tmpdir(), "pannier-fds-"));
});

afterEach(() => {
  rmSync(target, { recursive: true, force: true });
});

/** What is open, without the descriptor by which that is read. */
const open = () => readdirSync(PROC).length - 1;

const content = (version: string) => ({
  "a/b/c": version,
  "a/b/d": { link: "c" },
  e: { text: version, mode: Number.parseInt(`64${version}`, 8) },
});

describe.skipIf(!existsSync(PROC))("descriptors", () => {
  it.each(["swap", "mirror"] as const)("%s", async (publish) => {
    const source = memorySource(content("0"));
    const options: SyncOptions = { sources: [source], target, publish, keep: 3 };
    const failing = (more: Partial<SyncOptions>) =>
      expect(sync({ ...options, ...more })).rejects.toThrow(/./);
    // What is loaded, and what is opened once for the process.
    await sync(options);
    const before = open();
    await sync(options);
    source.content = content("4");
    await plan(options);
    await sync(options);
    await sync({ ...options, dirMode: 0o700 });
    await verify(target);
    await repair(options);
    source.content = { "a/b/c": "5" };
    source.beforeRead = () => {
      throw new Error("broken");
    };
    await failing({});
    source.beforeRead = () => {};
    await failing({ maxDelete: "0%" });
    await failing({ prePublish: () => Promise.reject(new Error("no")) });
    await sync({ ...options, maxDelete: "100%" });
    if (publish === "swap") await rollback(target);
    expect(open()).toBe(before);
  });
});
