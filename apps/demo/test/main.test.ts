/** `npm start`, as a user has it: started, looked at, a file edited, ended. */
import { spawn } from "node:child_process";
import { once } from "node:events";
import { existsSync } from "node:fs";
import { appendFile, mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { afterEach, beforeEach, expect, test } from "vitest";
import { FROM_SOURCES } from "../../../test/support/from-sources.ts";

let folder: string;
let demo: ReturnType<typeof start> | undefined;

beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), "pannier-demo-test-"));
});

afterEach(async () => {
  demo?.child.kill("SIGKILL");
  await rm(folder, { recursive: true, force: true });
});

function start(env: Readonly<Record<string, string>>) {
  const child = spawn(
    process.execPath,
    [...FROM_SOURCES, join(import.meta.dirname, "../src/main.ts")],
    {
      env: { PATH: process.env["PATH"], PORT: "0", TMPDIR: folder, ...env },
    },
  );
  let said = "";
  for (const stream of [child.stdout, child.stderr])
    stream.setEncoding("utf8").on("data", (text: string) => (said += text));
  /** What the pattern's group matches, once it is said. */
  const find = async (pattern: RegExp) => {
    await expect.poll(() => said).toMatch(pattern);
    return pattern.exec(said)?.[1] as string;
  };
  return { child, find, said: () => said };
}

const page = async (address: string) => (await fetch(address)).text();

test("an edit comes to the page by itself, and Ctrl-C leaves nothing behind", async () => {
  demo = start({});
  const address = await demo.find(/Open +(\S+)/);
  const file = await demo.find(/Edit +(\S+)/);
  await demo.find(/published (\S+)/);
  const text = await page(address);
  expect(text).toContain("Hello from Pannier");
  expect(await page(`${address}-/live.js`)).toContain("reload");
  const revision = await page(`${address}-/revision`);

  await writeFile(file, text.replace("Hello from Pannier", "Edited"));
  await expect.poll(() => page(address), { interval: 20 }).toContain("Edited");
  expect(await page(`${address}-/revision`)).not.toBe(revision);
  await appendFile(join(dirname(file), "notes/second.txt"), "more");
  await expect.poll(() => page(`${address}notes/second.txt`), { interval: 20 }).toBe("more");

  demo.child.kill("SIGINT");
  demo.child.kill("SIGINT");
  expect(await once(demo.child, "close")).toEqual([0, null]);
  expect(existsSync(file)).toBe(false);
});

test("SOURCE and TARGET are the user's own, and stay", async () => {
  await writeFile(join(folder, "mine.txt"), "mine");
  const target = `${folder}-target`;
  try {
    demo = start({ SOURCE: folder, TARGET: target, TMPDIR: tmpdir(), PERIOD: "200ms" });
    const address = await demo.find(/Open +(\S+)/);
    await demo.find(/published (\S+)/);
    expect(await page(address)).toContain('href="./mine.txt"');
    demo.child.kill("SIGTERM");
    expect(await once(demo.child, "close")).toEqual([0, null]);
    expect(await readFile(join(target, "current/mine.txt"), "utf8")).toBe("mine");
    expect(existsSync(join(folder, "mine.txt"))).toBe(true);
  } finally {
    await rm(target, { recursive: true, force: true });
  }
});

test("a source that cannot be is told in one line", async () => {
  demo = start({ SOURCE: "gopher://host/" });
  expect(await once(demo.child, "close")).toEqual([2, null]);
  expect(demo.said()).toMatch(/^The demonstration cannot go on: no adapter for "gopher:\/\/".*\n$/);
});
