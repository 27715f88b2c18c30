/** How long a server is waited for that sends little. */
import { afterEach, beforeEach, expect, test, vi } from "vitest";
import { PacketReader } from "../src/remote/pkt-line.ts";
import { readFetch } from "../src/remote/protocol.ts";

const KEEP_ALIVE = "0005\x01";
const PACK = "0009\x01PACK0000";

let now = 0;
beforeEach(() => {
  now = 0;
  vi.spyOn(performance, "now").mockImplementation(() => now);
});
afterEach(() => {
  vi.restoreAllMocks();
});

/** Sends each text after so many seconds of a clock of its own. */
async function* answer(parts: Iterable<readonly [seconds: number, text: string]>) {
  for (const [seconds, text] of parts) {
    now += seconds * 1000;
    yield Buffer.from(text);
  }
}

async function read(parts: Iterable<readonly [number, string]>): Promise<string> {
  const { pack } = await readFetch(new PacketReader(answer(parts)), 2, 0);
  const chunks: Uint8Array[] = [];
  for await (const chunk of pack) chunks.push(chunk);
  return Buffer.concat(chunks).toString();
}

function* preparing(minutes: number): Generator<readonly [number, string]> {
  yield [0, "000dpackfile\n"];
  for (let i = 0; i < minutes * 12; i++) yield [5, KEEP_ALIVE];
  yield [5, PACK];
}

test("a server may take minutes to prepare a pack, and says that it lives", async () => {
  expect(await read(preparing(9))).toBe("PACK");
});

test("it may not take for ever", async () => {
  await expect(read(preparing(11))).rejects.toMatchObject({
    code: "unavailable",
    transient: false,
    message: expect.stringContaining("ten minutes"),
  });
});

test("a packet that comes a byte a second is no sign of life", async () => {
  const bytes = Array.from({ length: 200 }, () => [1, "x"] as const);
  await expect(read([[0, "000dpackfile\n"], [0, "ffef\x01"], ...bytes])).rejects.toMatchObject({
    message: expect.stringContaining("is too slow"),
  });
});

test("once a pack has begun it has to get on", async () => {
  const alive = Array.from({ length: 20 }, () => [5, KEEP_ALIVE] as const);
  await expect(read([[0, "000dpackfile\n"], [1, "0009\x01PACK"], ...alive])).rejects.toMatchObject({
    message: expect.stringContaining("is too slow"),
  });
});

test("progress has an end", async () => {
  const progress = `8004\x02${"counting ".repeat(3641)}`;
  const told = Array.from({ length: 40 }, () => [0, progress.slice(0, 0x8004)] as const);
  await expect(read([[0, "000dpackfile\n"], ...told])).rejects.toMatchObject({
    message: expect.stringContaining("progress messages without end"),
  });
});
