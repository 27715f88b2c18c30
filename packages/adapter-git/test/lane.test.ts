/** Blobs that lanes read: what is published is what the adapter's own reads would have published, whatever git answers. */
import { createHash } from "node:crypto";
import { existsSync, readdirSync, readFileSync } from "node:fs";
import { chmod, mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { sync, type SyncEvent } from "@pannier/core";
import type { FileEntry, Sink } from "@pannier/core/adapter";
import { afterEach, beforeEach, describe, expect, onTestFinished, test, vi } from "vitest";
import { type LaneData, openLane } from "../src/git-lane.ts";
import { git } from "../src/index.ts";
import { setup, skipped, withoutGit } from "./setup.ts";

const servers = setup();
let directory: string;

beforeEach(async () => {
  directory = await mkdtemp(join(tmpdir(), "pannier-git-lane-"));
  vi.stubEnv("PANNIER_TEST_LANES", "always");
});

afterEach(async () => {
  await rm(directory, { recursive: true });
  vi.unstubAllEnvs();
});

/** Children of this process that ended and that nobody asked for. */
function zombies(): string[] {
  return readdirSync("/proc").filter((name) => {
    if (!/^\d+$/.test(name)) return false;
    try {
      const [state, parent] =
        readFileSync(`/proc/${name}/stat`, "utf8").split(") ")[1]?.split(" ") ?? [];
      return state === "Z" && Number(parent) === process.pid;
    } catch {
      return false;
    }
  });
}

describe.skipIf(withoutGit)(`a sync${skipped}`, () => {
  test("publishes blobs of all sizes, and leaves no process behind", async () => {
    const repository = await servers.repository();
    const sizes = [0, 1, 65_535, 65_536, 65_537, 262_144, 262_145, 3_000_000];
    const contents = Object.fromEntries(
      sizes.map((size) => [`size-${size}`, `line ${size}\n`.repeat(size).slice(0, size)]),
    );
    await repository.commit({ ...contents, "a/b": "same", "c/d": "same" });
    const events: SyncEvent[] = [];
    const source = git(repository.url, { engine: "cli" });
    await sync({ sources: [source], target: directory, onEvent: (event) => events.push(event) });
    for (const [path, content] of Object.entries({ ...contents, "a/b": "same", "c/d": "same" }))
      expect(await readFile(join(directory, "current", path), "utf8"), path).toBe(content);
    expect(events.filter(({ type }) => type === "retry" || type === "warning")).toEqual([]);
    expect(zombies()).toEqual([]);
  });

  test("warns of what Git LFS keeps, and publishes the pointer", async () => {
    const repository = await servers.repository();
    const pointer = `version https://git-lfs.github.com/spec/v1\noid sha256:${"0".repeat(64)}\nsize 5\n`;
    await repository.commit({ a: "1", large: pointer, other: pointer });
    const warnings: string[] = [];
    await sync({
      sources: [git(repository.url, { engine: "cli" })],
      target: directory,
      onEvent(event) {
        if (event.type === "warning") warnings.push(event.message);
      },
    });
    expect(await readFile(join(directory, "current/large"), "utf8")).toBe(pointer);
    expect(warnings).toEqual([expect.stringContaining("lfs=true")]);
  });
});

const TEXTS = ["first", "second", "third"];
const oidOf = (text: string) => createHash("sha1").update(text).digest("hex");

/** Reads by a lane whose git is a script. */
async function read(script: string, entries: Partial<FileEntry>[] = [], idleTimeout = 20_000) {
  const program = join(directory, "git");
  const pid = join(directory, "pid");
  await writeFile(program, `#!/bin/sh\necho $$ >'${pid}'\n${script}\n`);
  await chmod(program, 0o755);
  vi.stubEnv("PATH", `${directory}:${process.env["PATH"]}`);
  const files = TEXTS.map((text, index): FileEntry => ({
    kind: "file",
    path: text,
    size: text.length,
    fingerprint: oidOf(text),
    ...entries[index],
  }));
  const got: string[] = [];
  const sink: Sink = {
    stopped: false,
    put: (index, content) => void (got[index] = String(content)),
    begin: () => expect.unreachable("it is small"),
    failed: () => expect.unreachable("nothing was asked in vain"),
    request: () => {},
  };
  const controller = new AbortController();
  const lane = openLane({ idleTimeout, atOnce: 4, mostUnlisted: 0 });
  onTestFinished(() => lane.close?.());
  const data: LaneData = { dir: directory, batchCommand: true, leavePointers: true };
  const reading = lane.read({ files, data }, sink, controller.signal);
  const isRunning = () => {
    try {
      process.kill(Number(readFileSync(pid, "utf8")), 0);
      return true;
    } catch {
      return false;
    }
  };
  return {
    lane,
    reading,
    got,
    isRunning,
    abort: () => controller.abort(),
    started: () => existsSync(pid),
  };
}

const answer = (text: string, type = "blob", size: number | string = text.length) =>
  `printf '%s' '${oidOf(text)} ${type} ${size}\n${text}\n'`;
const all = TEXTS.map((text) => answer(text)).join("\n");

test("answers are taken however they come", async () => {
  const bytes = TEXTS.map((text) => `${oidOf(text)} blob ${text.length}\n${text}\n`).join("");
  const slowly = [...bytes]
    .map((byte) => `printf '${byte === "\n" ? "\\n" : byte}'`)
    .join("; sleep 0\n");
  for (const script of [all, slowly]) {
    const { reading, got } = await read(`${script}\nsleep 5`);
    await reading;
    expect(got).toEqual(TEXTS);
  }
});

describe("leaves", () => {
  test.each([
    ["a blob that is missing", `printf '%s missing\\n' ${oidOf("second")}`, true],
    ["what is no blob", answer("second", "tree"), true],
    [
      "another size than the listed one",
      answer("second!").replace(oidOf("second!"), oidOf("second")),
      true,
    ],
    ["another object, and what follows", answer("other"), false],
    ["a size that is none, and what follows", answer("second", "blob", "6x"), false],
    ["more than was told, and what follows", answer("second", "blob", 5), false],
    ["less than was told, and what follows", answer("second", "blob", 7), false],
    ["a line without end, and what follows", "head -c 100000000 /dev/zero | tr '\\\\0' x", false],
    ["everything after the end", "exit 3", false],
    ["everything after a kill", "kill -9 $$", false],
  ])("%s", async (_, script, goesOn) => {
    const { reading, got } = await read(
      `${answer("first")}\n${script}\n${answer("third")}\nsleep 5`,
    );
    await reading;
    expect(got).toEqual(goesOn ? ["first", undefined, "third"] : ["first"]);
  });

  test("what git does not answer in time, and ends it", async () => {
    const { reading, got, isRunning } = await read(`${answer("first")}\nexec sleep 60`, [], 300);
    await reading;
    expect(got).toEqual(["first"]);
    await expect.poll(isRunning).toBe(false);
  });

  test("what is not an object's name: it does not get to git", async () => {
    const { reading, got, started } = await read(all, [
      { fingerprint: `${oidOf("first")}\ncontents HEAD` },
      { fingerprint: "HEAD" },
      { ref: "submodule" },
    ]);
    await reading;
    expect(got).toEqual([]);
    expect(started()).toBe(false);
  });
});

test.each(["abort", "close"] as const)(
  "%s ends git, and what it has in work is left",
  async (how) => {
    const { lane, reading, got, isRunning, abort } = await read(
      `${answer("first")}\nexec sleep 60`,
    );
    await expect.poll(() => got).toEqual(["first"]);
    expect(isRunning()).toBe(true);
    if (how === "abort") abort();
    await lane.close?.();
    await reading;
    expect(isRunning()).toBe(false);
  },
);
