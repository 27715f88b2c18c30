import { expect, test } from "vitest";
import { untilAborted } from "./sleep.ts";

const never = new Promise<never>(() => {});
const reason = new Error("enough");

test("gives what the work gives, and what it fails with", async () => {
  const { signal } = new AbortController();
  expect(await untilAborted(Promise.resolve(1), signal)).toBe(1);
  await expect(untilAborted(Promise.reject(reason), signal)).rejects.toBe(reason);
});

test.each(["before", "meanwhile"])("gives up on an abort: %s", async (when) => {
  const abort = new AbortController();
  let told = 0;
  if (when === "before") abort.abort(reason);
  const waiting = untilAborted(never, abort.signal, () => told++);
  abort.abort(reason);
  await expect(waiting).rejects.toBe(reason);
  expect(told).toBe(1);
});

test("what fails after that is nobody's unhandled rejection", async () => {
  const { promise, reject } = Promise.withResolvers<never>();
  await expect(untilAborted(promise, AbortSignal.abort(reason))).rejects.toBe(reason);
  reject(new Error("late"));
  await new Promise(setImmediate);
});
