import { expect, test, vi } from "vitest";
import * as ours from "./adapter.ts";
import {
  HookError,
  isPannierError,
  MountSourceError,
  PannierError,
  TargetError,
} from "./errors.ts";
import { nameSource } from "./engine/run.ts";
import { describeFailure } from "./failure.ts";
import type { Layer } from "./mount/layer.ts";
import { createLimiter } from "./transfer/limiter.ts";
import { retry } from "./transfer/retry.ts";

const { signal } = new AbortController();

/** What an adapter throws that brings a core of its own. */
vi.resetModules();
const theirs = await import("./adapter.ts");

test("it is another copy", () => {
  expect(theirs.SourceError).not.toBe(ours.SourceError);
});

test("an error of another copy is described as ours is", () => {
  const error = new theirs.SourceError("auth", "no", { hint: "do this" });
  const alike = new ours.SourceError("auth", "no", { hint: "do this" });
  expect(isPannierError(error)).toBe(true);
  expect(describeFailure(error)).toEqual(describeFailure(alike));
});

test("a transient error of another copy is tried again, and keeps what it says", async () => {
  const errors: unknown[] = [];
  const failing = retry(
    () => Promise.reject(new theirs.SourceError("unavailable", "down", { retryAfter: 1 })),
    { attempts: 2, signal, onRetry: (error) => errors.push(error) },
  );
  await expect(failing).rejects.toMatchObject({
    code: "unavailable",
    message: "down (after 2 attempts)",
  });
  expect(errors).toHaveLength(1);
});

test("a source that another copy says is throttled gets fewer requests at once", async () => {
  const limiter = createLimiter(() => 4);
  const error = new theirs.SourceError("throttled", "slow down");
  const before = limiter.free;
  await expect(limiter.run(() => Promise.reject(error), signal)).rejects.toBe(error);
  expect(limiter.free).toBeLessThan(before);
});

test("a failure of another copy names its source", () => {
  const layer = { position: 1, url: "https://h/" } as Layer;
  const named = nameSource(layer, new theirs.SourceError("auth", "no"));
  expect(named).toBeInstanceOf(MountSourceError);
  expect(named).toMatchObject({ source: 1, url: "https://h/", code: "auth" });
});

test("instanceof tells kinds apart, whatever copy they are of", () => {
  class Expansion extends theirs.SourceError {}
  class OwnHook extends HookError {}
  const source = new theirs.SourceError("auth", "no");
  expect(source).toBeInstanceOf(ours.SourceError);
  expect(source).toBeInstanceOf(PannierError);
  expect(new ours.SourceError("auth", "no")).toBeInstanceOf(theirs.SourceError);
  expect(new Expansion("invalid", "no")).toBeInstanceOf(ours.SourceError);
  expect(source).not.toBeInstanceOf(ours.UsageError);
  expect(new theirs.UsageError("no")).toBeInstanceOf(ours.UsageError);
  expect(new theirs.NoRoomError("no")).toBeInstanceOf(ours.NoRoomError);
  expect(new TargetError("no")).not.toBeInstanceOf(ours.SourceError);
  // A class without a kind of its own is not taken for the one that it extends.
  expect(new OwnHook("no")).toBeInstanceOf(HookError);
  expect(new HookError("no")).not.toBeInstanceOf(OwnHook);
  expect(source).not.toBeInstanceOf(Expansion);
  expect(new Expansion("invalid", "no")).toBeInstanceOf(Expansion);
  for (const other of [undefined, null, "text", {}, new Error("no"), Object.create(null)])
    expect((other as unknown) instanceof ours.SourceError).toBe(false);
});
