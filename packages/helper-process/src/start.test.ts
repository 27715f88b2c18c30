import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { pathToFileURL } from "node:url";
import { afterEach, beforeEach, expect, test } from "vitest";
import { startHelperProcess } from "./start.ts";

let folder: string;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "pannier-helper-"));
});
afterEach(() => rmSync(folder, { recursive: true, force: true }));

/** What a helper of this program says, until its end is told. */
async function run(program: string): Promise<{ messages: unknown[]; why: string }> {
  const path = join(folder, "helper.mjs");
  writeFileSync(path, `import { writeSync } from "node:fs";\n${program}`);
  const messages: unknown[] = [];
  const end = Promise.withResolvers<string>();
  const helper = startHelperProcess({
    script: pathToFileURL(path),
    env: {},
    onMessage: (message) => messages.push(message),
    onEnd: end.resolve,
  });
  const why = await end.promise;
  helper.kill();
  return { messages, why };
}

const MESSAGE = `
  const json = Buffer.from(JSON.stringify({ n: 1 }));
  const lengths = Buffer.alloc(8);
  lengths.writeUInt32LE(json.length, 0);
  writeSync(3, Buffer.concat([lengths, json]));`;

test("says why a helper ended, and has what it said before", async () => {
  expect(await run(`${MESSAGE}; process.exitCode = 7`)).toEqual({
    messages: [{ n: 1 }],
    why: "ended (exit code 7)",
  });
});

test.each([
  ["lengths that cannot be", "Buffer.alloc(64, 0xff)"],
  ["no JSON", "Buffer.from([3, 0, 0, 0, 0, 0, 0, 0, 1, 2, 3])"],
])("takes nothing more from a helper that sends what is no message: %s", async (_, bytes) => {
  const nonsense = `writeSync(3, ${bytes}); setInterval(() => {}, 1000);`;
  expect(await run(nonsense)).toEqual({ messages: [], why: "sent something other than a message" });
});
