import { lstatSync, mkdirSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import * as fc from "fast-check";
import type { Entry } from "@pannier/core/adapter";
import { expect, test } from "vitest";
import { walk } from "./walk.ts";

const { signal } = new AbortController();

/** Names made of what sorts differently as bytes, as UTF-16 and with a `/` behind. */
const segment = fc
  .string({
    unit: fc.constantFrom(
      "a",
      "b",
      "A",
      " ",
      "-",
      ".",
      "!",
      "0",
      "é",
      "~",
      "\ufffd",
      "～",
      "😀",
      "\n",
    ),
    minLength: 1,
    maxLength: 4,
  })
  .filter((name) => name !== "." && name !== "..");

test("lists exactly what is there, in the order of bytes, whatever the names", async () => {
  await fc.assert(
    fc.asyncProperty(
      fc.array(fc.array(segment, { minLength: 1, maxLength: 4 }), { maxLength: 100 }),
      async (paths) => {
        const root = mkdtempSync(join(tmpdir(), "pannier-walk-"));
        try {
          for (const path of paths) putWherePossible(join(root, ...path));
          const expected = filesBelow(root, "").toSorted((a, b) =>
            Buffer.compare(Buffer.from(a), Buffer.from(b)),
          );
          expect(await list(root)).toEqual(expected);
        } finally {
          rmSync(root, { recursive: true });
        }
      },
    ),
    { numRuns: 15 },
  );
});

test("a file system that does not answer in time is unavailable", async () => {
  // No thread starts within a millisecond.
  await expect(list(tmpdir(), 1)).rejects.toMatchObject({ code: "unavailable", transient: true });
});

test("a walk does not run ahead of who takes from it; what is deleted meanwhile is left out", async () => {
  const root = mkdtempSync(join(tmpdir(), "pannier-walk-"));
  const paths: string[] = [];
  try {
    for (let i = 10; i < 32; i++) {
      mkdirSync(join(root, `dir-${i}`));
      for (let j = 0; j < 300; j++) writeFileSync(join(root, `dir-${i}`, `${j}`), "");
    }
    const batches = walk({
      root,
      idleTimeout: 5000,
      signal,
      onSpecial: () => {},
      mayBeWanted: () => true,
    });
    const first = await batches.next();
    // Time to run ahead in.
    await sleep(300);
    rmSync(join(root, "dir-29"), { recursive: true });
    rmSync(join(root, "dir-30/7"));
    writeFileSync(join(root, "dir-31/later"), "");
    for (const { path } of first.value as readonly Entry[]) paths.push(path);
    for await (const batch of batches) paths.push(...batch.map(({ path }) => path));
  } finally {
    rmSync(root, { recursive: true });
  }
  expect(paths).toContain("dir-31/later");
  expect(paths).not.toContain("dir-30/7");
  expect(paths.length).toBe(21 * 300);
});

async function list(root: string, idleTimeout = 5000): Promise<string[]> {
  const found: string[] = [];
  for await (const batch of walk({
    root,
    idleTimeout,
    signal,
    onSpecial: () => {},
    mayBeWanted: () => true,
  })) {
    found.push(...batch.map(({ path }) => path));
  }
  return found;
}

/** A file is left where another path wants a directory, and the other way round. */
function putWherePossible(path: string): void {
  try {
    mkdirSync(dirname(path), { recursive: true });
    writeFileSync(path, "", { flag: "wx" });
  } catch {
    // In the way of, or below, one that is there.
  }
}

function filesBelow(root: string, prefix: string): string[] {
  return readdirSync(join(root, prefix)).flatMap((name) =>
    lstatSync(join(root, prefix, name)).isDirectory()
      ? filesBelow(root, `${prefix}${name}/`)
      : [prefix + name],
  );
}
