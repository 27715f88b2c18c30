import { expect, onTestFinished, test, vi } from "vitest";
import { makeFloor } from "./floor.ts";

test("what comes byte by byte ends after a minute; what is slow goes on", () => {
  let now = 0;
  vi.spyOn(performance, "now").mockImplementation(() => now);
  onTestFinished(() => void vi.restoreAllMocks());
  const slow = makeFloor();
  for (; now < 600_000; now += 1000) slow(50);
  now = 0;
  const dribbling = makeFloor();
  const dribble = () => {
    for (; now < 600_000; now += 1000) dribbling(1);
  };
  expect(dribble).toThrow(/^the server sent 61 bytes in a minute$/);
  expect(now).toBe(60_000);
});
