/** What sources hint at while they are followed. */
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { expect, it, onTestFinished } from "vitest";
import { follow, type Source } from "../src/index.ts";
import { type MemorySource, memorySource } from "./memory-source.ts";

function hinting(name: string): { readonly source: MemorySource; hint(): void } {
  const source = memorySource({ [name]: "1" }, name);
  let controller: ReadableStreamDefaultController<void> | undefined;
  const hints = new ReadableStream<void>({ start: (to) => void (controller = to) });
  const { open } = source.adapter;
  const adapter = {
    ...source.adapter,
    async open(...args: Parameters<typeof open>): Promise<Source> {
      return { ...(await open(...args)), watch: () => hints.values() };
    },
  };
  return { source: Object.assign(source, { adapter }), hint: () => controller?.enqueue() };
}

it("answers hints of several sources that come in a row with one sync", async () => {
  const target = mkdtempSync(join(tmpdir(), "pannier-hints-"));
  const [one, other] = [hinting("one"), hinting("other")];
  const stop = new AbortController();
  let syncs = 0;
  const running = (async () => {
    const options = { sources: [one.source, other.source], target, period: "1h" };
    for await (const event of follow(options, { signal: stop.signal }))
      if (event.type === "waiting") syncs++;
  })();
  onTestFinished(async () => {
    stop.abort();
    await running;
    rmSync(target, { recursive: true });
  });
  await expect.poll(() => syncs).toBe(1);
  one.hint();
  await delay(40);
  other.hint();
  await expect.poll(() => syncs).toBe(2);
  // By the time that the answer to this one shows, another would have.
  other.hint();
  await expect.poll(() => syncs).toBe(3);
  await delay(300);
  expect(syncs).toBe(3);
});

it("goes on without triggers where they fail, and says so", async () => {
  const target = mkdtempSync(join(tmpdir(), "pannier-hints-"));
  onTestFinished(() => rmSync(target, { recursive: true }));
  const unheard: unknown[] = [];
  const note = (reason: unknown) => void unheard.push(reason);
  process.on("unhandledRejection", note);
  onTestFinished(() => void process.off("unhandledRejection", note));
  const broken = {
    [Symbol.asyncIterator]: () => ({ next: () => Promise.reject(new Error("cut")) }),
  };
  const options = { sources: [memorySource({ one: "1" })], target, period: "5ms" };
  const warnings: string[] = [];
  let syncs = 0;
  for await (const event of follow(options, { triggers: broken })) {
    if (event.type === "warning") warnings.push(event.message);
    if (event.type === "waiting" && ++syncs === 3) break;
  }
  expect(warnings).toEqual(["no trigger is heard any more: cut"]);
  expect(unheard).toEqual([]);
});

it("ends at once when it is stopped while it begins to watch", async () => {
  const target = mkdtempSync(join(tmpdir(), "pannier-hints-"));
  onTestFinished(() => rmSync(target, { recursive: true }));
  const stop = new AbortController();
  /** Knows nothing of a signal. */
  const never = { [Symbol.asyncIterator]: () => ({ next: () => new Promise<never>(() => {}) }) };
  const watch = () => {
    stop.abort();
    return never;
  };
  const source = memorySource({ one: "1" });
  const { open } = source.adapter;
  const adapter = {
    ...source.adapter,
    async open(...args: Parameters<typeof open>): Promise<Source> {
      return { ...(await open(...args)), watch };
    },
  };
  const options = { sources: [{ ...source, adapter }], target };
  const events: string[] = [];
  const following = (async () => {
    for await (const { type } of follow(options, { signal: stop.signal, triggers: never }))
      events.push(type);
  })();
  expect(await Promise.race([following, delay(2000, "goes on")])).toBeUndefined();
  expect(events).not.toContain("done");
});
