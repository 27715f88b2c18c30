/** Polls that find nothing new: they must leave no trace, however many there are. */
import { mkdtempSync, readdirSync, rmSync, statSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, expect, it } from "vitest";
import { follow } from "../src/index.ts";
import { memorySource } from "./memory-source.ts";

/** `PANNIER_TEST_POLLS=10000` for a long run. */
const POLLS = Number(process.env["PANNIER_TEST_POLLS"] ?? 600);

let target: string;

beforeEach(() => {
  target = mkdtempSync(join(tmpdir(), "pannier-idle-"));
});

afterEach(() => {
  rmSync(target, { recursive: true, force: true });
});

/** Sizes and times of everything in Pannier's directory, and what is open. */
function traces(): unknown {
  const home = join(target, ".pannier");
  return {
    files: readdirSync(home, { recursive: true }).map((name) => {
      const { size, mtimeMs } = statSync(join(home, name as string));
      return [name, size, mtimeMs];
    }),
    open: process.platform === "linux" ? readdirSync("/proc/self/fd").length : 0,
  };
}

it.each([undefined, "token"])(
  "leaves no trace (token: %s)",
  { timeout: 30 * POLLS },
  async (token) => {
    const source = memorySource({ a: "1", "d/b": { link: "../a" } });
    source.token = token;
    const stop = new AbortController();
    const warnings: string[] = [];
    const onWarning = (warning: Error) => warnings.push(warning.message);
    process.on("warning", onWarning);
    let polls = 0;
    let before: unknown;
    for await (const event of follow(
      { sources: [source], target, period: 0.01 },
      { signal: stop.signal },
    )) {
      if (event.type !== "waiting") continue;
      polls++;
      // By now the next tree has been built.
      if (polls === 20) before = traces();
      if (polls !== POLLS) continue;
      expect(traces()).toEqual(before);
      stop.abort();
    }
    process.off("warning", onWarning);
    expect(polls).toBeGreaterThanOrEqual(POLLS);
    // Among them those about too many listeners on one signal.
    expect(warnings.filter((message) => /listener/i.test(message))).toEqual([]);
  },
);
