import { lstatSync, mkdirSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import * as fc from "fast-check";
import { expect, test } from "vitest";
import { makeCalls } from "./calls.ts";
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
      fc.array(fc.array(segment, { minLength: 1, maxLength: 4 }), { maxLength: 30 }),
      fc.boolean(),
      async (paths, fast) => {
        const root = mkdtempSync(join(tmpdir(), "pannier-walk-"));
        try {
          for (const path of paths) putWherePossible(join(root, ...path));
          const expected = filesBelow(root, "").toSorted((a, b) =>
            Buffer.compare(Buffer.from(a), Buffer.from(b)),
          );
          expect(await list(root, fast)).toEqual(expected);
        } finally {
          rmSync(root, { recursive: true });
        }
      },
    ),
    { numRuns: 150 },
  );
});

async function list(root: string, fast: boolean): Promise<string[]> {
  // Both ways of asking, whatever the machine's speed.
  const calls = { ...makeCalls(5000), fast, now: <Result>(call: () => Result) => call() };
  const found: string[] = [];
  for await (const batch of walk({ root, calls, signal, onSpecial: () => {} })) {
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
