/** What a reader sees while revision after revision is published. */
import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { text } from "node:stream/consumers";
import { afterEach, beforeEach, expect, it } from "vitest";
import { sync } from "../src/index.ts";
import { memorySource } from "./memory-source.ts";

/** Revisions published for each number of kept trees. */
const REVISIONS = Number(process.env["PANNIER_TEST_REVISIONS"] ?? 40);

let target: string;

beforeEach(() => {
  target = mkdtempSync(join(tmpdir(), "pannier-atomic-"));
});

afterEach(() => {
  rmSync(target, { recursive: true, force: true });
});

/** Resolves the link once, reads the whole tree behind it, and so on until its standard input ends. */
const READER = `
  const { readFileSync, readlinkSync, readdirSync } = require("node:fs");
  const { join } = require("node:path");
  const target = process.argv[1];
  const counts = { whole: 0, gone: 0, mixed: [], seen: 0, errors: [] };
  let last;
  let running = true;
  process.stdin.resume().on("end", () => (running = false));
  console.log("reading");
  (function round() {
    try {
      const tree = join(target, readlinkSync(join(target, "current")));
      const files = readdirSync(tree, { recursive: true, withFileTypes: true }).filter((entry) => entry.isFile());
      const revisions = files.map(({ parentPath, name }) => readFileSync(join(parentPath, name), "utf8"));
      const wanted = 10 + (Number(revisions[0]) % 3);
      if (new Set(revisions).size === 1 && files.length === wanted) counts.whole++;
      else counts.mixed.push(revisions.join());
      if (revisions[0] !== last) counts.seen++;
      last = revisions[0];
    } catch (error) {
      if (error.code === "ENOENT") counts.gone++;
      else counts.errors.push(error.message);
    }
    if (running) setTimeout(round, 1);
    else console.log(JSON.stringify(counts));
  })();
`;

it.each([1, 2, 3])(
  "is one revision or gone, never two mixed (keep %i)",
  { timeout: 2000 * REVISIONS },
  async (keep) => {
    const source = memorySource();
    const publish = (revision: number) => {
      source.content = Object.fromEntries(
        Array.from({ length: 10 + (revision % 3) }, (_, i) => [
          `d${i % 4}/f${i}`,
          String(revision),
        ]),
      );
      return sync({ sources: [source], target, keep });
    };
    await publish(0);
    const reader = spawn(process.execPath, ["-e", READER, target], {
      stdio: ["pipe", "pipe", "inherit"],
    });
    const output = text(reader.stdout);
    await once(reader.stdout, "readable");
    for (let revision = 1; revision <= REVISIONS; revision++) await publish(revision);
    reader.stdin.end();
    const counts = JSON.parse((await output).split("\n")[1] as string) as Record<string, unknown>;
    expect(counts).toMatchObject({ mixed: [], errors: [] });
    expect(counts["seen"]).toBeGreaterThan(REVISIONS / 10);
    expect(counts["whole"]).toBeGreaterThan(counts["gone"] as number);
  },
);
