import { expect, test } from "vitest";
import { createPace } from "./pace.ts";

const here = () => "here";
const pooled = () => Promise.resolve("pooled");

const slow = () => {
  for (const end = performance.now() + 0.5; performance.now() < end;);
  return "here";
};
const fail = () => {
  throw new Error("no room");
};

test("stays here while calls are quick", () => {
  const pace = createPace();
  const places = Array.from({ length: 3000 }, () => pace.run(here, pooled));
  expect(new Set(places)).toEqual(new Set(["here"]));
});

test("goes to the pool once calls turn out to be slow", async () => {
  const pace = createPace();
  for (let call = 0; call < 1000; call++) expect(pace.run(slow, pooled)).toBe("here");
  await expect(pace.run(slow, pooled)).resolves.toBe("pooled");
});

test("counts calls that fail, and lets their errors through", () => {
  const pace = createPace();
  expect(() => pace.run(fail, pooled)).toThrow("no room");
  expect(pace.run(here, pooled)).toBe("here");
});
