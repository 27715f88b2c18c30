import type { Failure } from "@pannier/core";
import { expect, test } from "vitest";
import { type Attempt, noteAttempt } from "./attempts.ts";

const moment = (at: number) => ({ wall: at, at });
const failure = (message: string, code: Failure["code"] = "unavailable"): Failure => ({
  code,
  exitCode: 5,
  message,
});

test("the same failure in a row is one attempt that counts up, and another is one of its own", () => {
  let known: readonly Attempt[] = [];
  for (const at of [1, 2, 3]) known = noteAttempt(known, failure("off"), moment(at), at > 1);
  known = noteAttempt(known, failure("401", "auth"), moment(4), true);
  expect(known).toMatchObject([
    { kind: "failed", count: 1, failure: { message: "401" } },
    { kind: "failed", count: 3, first: { wall: 1 }, last: { wall: 3 } },
  ]);
});

test("the same failure after a success is another attempt", () => {
  const known = noteAttempt([], failure("off"), moment(1), false);
  expect(noteAttempt(known, failure("off"), moment(9), false)).toHaveLength(2);
});

test.each([
  [failure("too many deletions", "refused"), "refused"],
  [failure("the check said no", "hook"), "refused"],
  [failure("off"), "failed"],
  [undefined, "held"],
] as const)("%j is %s", (given, kind) => {
  expect(noteAttempt([], given, moment(1), false)[0]?.kind).toBe(kind);
});

test("keeps twenty, and 4,000 characters of each message", () => {
  let known: readonly Attempt[] = [];
  for (let at = 0; at < 50; at++)
    known = noteAttempt(known, failure(`${at} ${"x".repeat(10_000)}`), moment(at), true);
  expect(known).toHaveLength(20);
  expect(known[0]?.last.wall).toBe(49);
  expect(known.map(({ failure: one }) => one?.message.length)).toEqual(Array(20).fill(4000));
});
