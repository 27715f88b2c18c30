import { randomBytes } from "node:crypto";
import { mkdtemp, open, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import * as fc from "fast-check";
import { expect, onTestFinished, test } from "vitest";
import { writeBehind } from "./write-behind.ts";

async function makeFile() {
  const directory = await mkdtemp(join(tmpdir(), "pannier-write-"));
  const path = join(directory, "file");
  const file = await open(path, "wx+");
  onTestFinished(async () => {
    await file.close();
    await rm(directory, { recursive: true });
  });
  return { fd: file.fd, path, clear: () => file.truncate(0) };
}

test("writes what came in order, in whatever pieces, and keeps nobody's memory", async () => {
  const { fd, path, clear } = await makeFile();
  const sizes = fc.array(fc.oneof(fc.nat(3000), fc.integer({ min: 200_000, max: 300_000 })), {
    maxLength: 8,
  });
  await fc.assert(
    fc.asyncProperty(sizes, fc.nat(1000), fc.boolean(), async (lengths, start, known) => {
      await clear();
      const content = lengths.map((length) => randomBytes(length));
      const total = lengths.reduce((sum, length) => sum + length, 0);
      const output = writeBehind(fd, start, known ? total : undefined);
      for (const chunk of content) {
        const memory = Uint8Array.from(chunk);
        await output.write(memory);
        memory.fill(0);
      }
      await output.flush();
      const expected = Buffer.concat([Buffer.alloc(total > 0 ? start : 0), ...content]);
      expect((await readFile(path)).equals(expected)).toBe(true);
    }),
    { numRuns: 60 },
  );
});

test("starts again at its first position", async () => {
  const { fd, path, clear } = await makeFile();
  const output = writeBehind(fd, 0);
  await output.write(randomBytes(400_000));
  await output.restart();
  await clear();
  await output.write(Buffer.from("other"));
  await output.flush();
  expect(await readFile(path, "utf8")).toBe("other");
});

test("a write that failed is told by the next call, whichever that is", async () => {
  for (const next of ["write", "flush", "restart"] as const) {
    const output = writeBehind(1_000_000, 0);
    await output.write(Buffer.alloc(300_000).subarray(0, 150_000));
    await output.write(Buffer.alloc(150_000));
    const told = next === "write" ? output.write(Buffer.alloc(400_000)) : output[next]();
    await expect(told).rejects.toMatchObject({ code: "EBADF" });
  }
});
