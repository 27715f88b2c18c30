import { expect, test } from "vitest";
import { createPace } from "./pace.ts";

const slow = expect.objectContaining({ code: "unavailable", transient: false });

test("a byte a second is too slow, after a minute", () => {
  const pace = createPace("reading");
  for (let second = 1; second < 60; second++) pace.came(1000, 1);
  expect(() => pace.came(1000, 1)).toThrow(slow);
});

test("a slow link is not", () => {
  const pace = createPace("reading");
  for (let second = 0; second < 600; second++) pace.came(1000, 65);
  expect(() => pace.came(60_000, 100)).toThrow(slow);
});

test("what came before is of no help", () => {
  const pace = createPace("reading");
  pace.came(60_000, 1_000_000);
  pace.came(59_000, 10);
  expect(() => pace.came(1000, 10)).toThrow(slow);
});

test("the time that the reader takes does not count", () => {
  const pace = createPace("reading");
  // Each chunk is there already when it is asked for.
  expect(() => {
    for (let chunk = 0; chunk < 100_000; chunk++) pace.came(0.1, 1);
  }).not.toThrow();
});

test("less is allowed where less is asked for", () => {
  const pace = createPace("listing", { idleTimeout: 5000, least: 16 });
  expect(() => {
    for (let second = 0; second < 600; second++) pace.came(1000, 16);
  }).not.toThrow();
  for (let second = 1; second < 10; second++) pace.came(1000, 15);
  expect(() => pace.came(1000, 15)).toThrow("listing is too slow: 150 bytes came in 10 s");
});
