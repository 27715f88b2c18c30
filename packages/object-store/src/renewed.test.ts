import { expect, onTestFinished, test, vi } from "vitest";
import { renewed } from "./renewed.ts";

const { signal } = new AbortController();

function counting(life: number) {
  let asked = 0;
  const made = renewed(async () => ({ signature: { number: ++asked }, ends: Date.now() + life }));
  return { ...made, asked: () => asked };
}

function useClock(): (milliseconds: number) => void {
  vi.useFakeTimers({ toFake: ["Date"] });
  onTestFinished(() => void vi.useRealTimers());
  return (milliseconds) => void vi.setSystemTime(Date.now() + milliseconds);
}

test("is asked for once by all, and again when nine tenths of its life are over", async () => {
  const pass = useClock();
  const { current, asked } = counting(1000);
  await Promise.all([current(signal), current(signal)]);
  pass(899);
  await current(signal);
  expect(asked()).toBe(1);
  pass(1);
  expect(await current(signal)).toEqual({ number: 2 });
});

test("what has ended when it comes is used once", async () => {
  const { current, asked } = counting(0);
  await current(signal);
  await current(signal);
  expect(asked()).toBe(2);
});

test("one that is refused is replaced, and worth another try where it was good before", async () => {
  const { current, accepted, refused } = counting(1000);
  const first = await current(signal);
  expect(await refused(first, signal)).toBe(false);
  const second = await current(signal);
  expect(second).not.toBe(first);
  accepted(second);
  // The refusal of an older one, which comes late, takes nothing from this one.
  expect(await refused(first, signal)).toBe(false);
  expect(await current(signal)).toBe(second);
  expect(await refused(second, signal)).toBe(true);
});

test("nobody's abort takes it from the others, and a failure is not kept", async () => {
  const gate = Promise.withResolvers<void>();
  let asked = 0;
  const { current } = renewed(async () => {
    await gate.promise;
    if (++asked === 1) throw new Error("down");
    return { signature: { asked }, ends: Infinity };
  });
  const stop = new AbortController();
  const given = current(stop.signal);
  const others = current(signal);
  stop.abort(new Error("enough"));
  await expect(given).rejects.toThrow("enough");
  gate.resolve();
  await expect(others).rejects.toThrow("down");
  expect(await current(signal)).toEqual({ asked: 2 });
});

test("where asking again may give the same, it is asked at once whether there is another", async () => {
  let key = "old";
  const forced: boolean[] = [];
  const { current, accepted, refused } = renewed(
    async (refusedOne: boolean) => {
      forced.push(refusedOne);
      return { signature: { key }, ends: Infinity };
    },
    (a, b) => a.key === b.key,
  );
  const first = await current(signal);
  expect(await refused(first, signal)).toBe(false);
  expect(forced).toEqual([false]);
  // It says that its time is over, and there is no other.
  expect(await refused(first, signal, true)).toBe(false);
  accepted(first);
  expect(await refused(first, signal)).toBe(false);
  expect(await current(signal)).toBe(first);
  key = "new";
  expect(await refused(first, signal)).toBe(true);
  expect(forced).toEqual([false, true, true, true]);
  expect(await current(signal)).toEqual({ key: "new" });
  // A refusal that comes late.
  expect(await refused(first, signal)).toBe(true);
  expect(forced).toHaveLength(4);
});
