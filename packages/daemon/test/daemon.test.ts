/** Mounts at work: schedule, probes, status, the end. */
import { EventEmitter, on } from "node:events";
import {
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  writeFileSync,
} from "node:fs";
import { join } from "node:path";
import { sync, SourceError, UsageError } from "@pannier/core";
import { expect, it, onTestFinished, vi } from "vitest";
import { memorySource } from "../../core/test/memory-source.ts";
import {
  daemonConfig,
  failToOpen,
  mountConfig,
  neverAnswering,
  neverClosing,
  scratch,
  startDaemon,
} from "./run-daemon.ts";
import { ownTime } from "../../../test/support/own-time.ts";
import { eventually } from "../../../test/support/eventually.ts";

const unreachable = () => {
  throw new SourceError("unavailable", "no route to it", { transient: false });
};

const remove = (...path: readonly string[]) =>
  rmSync(join(...path), { recursive: true, force: true });

/** Fifty mounts at full scale. */
const FULL = process.env["PANNIER_SCALE"] === "full";

it("keeps several mounts in sync, and tells of each", async () => {
  const folder = scratch();
  const daemon = startDaemon(
    daemonConfig([mountConfig("one", join(folder, "1")), mountConfig("two", join(folder, "2"))]),
    { contents: { one: { "a/b": "1" }, two: { c: "22" } } },
  );
  await daemon.event("one", "waiting");
  await daemon.event("two", "waiting");
  expect(readFileSync(join(folder, "1/current/a/b"), "utf8")).toBe("1");
  expect(await daemon.get("/livez")).toEqual({ status: 200, text: "ok\n" });
  expect(await daemon.get("/readyz?maxAge=1m")).toEqual({ status: 200, text: "ok\n" });
  const status = await daemon.status("two");
  expect(status).toMatchObject({
    name: "two",
    state: "waiting",
    sources: [{ url: "memory://two/", adapter: "memory" }],
    revision: expect.stringMatching(/^[0-9a-f]{40}$/),
    files: 1,
    bytes: 2,
    lastAttempt: { result: "published" },
    failures: 0,
    error: null,
    kept: [{ revision: status["revision"] }],
  });
  expect(Date.parse(status["nextAttempt"] as string) - Date.now()).toBeGreaterThan(3_000_000);
  expect(await daemon.stop()).toBe(0);
});

it("goes on where a source cannot be reached at the start, and is ready once it is back", async () => {
  const daemon = startDaemon(
    daemonConfig([
      mountConfig("off", join(scratch(), "t"), { options: { period: 20 } }),
      mountConfig("on", join(scratch(), "t")),
    ]),
  );
  daemon.source("off").beforeList = unreachable;
  await daemon.event("off", "failed");
  await daemon.event("on", "done");
  expect(await daemon.get("/livez")).toMatchObject({ status: 200 });
  expect(await daemon.get("/readyz")).toEqual({
    status: 503,
    text: "nothing published yet: off\n",
  });
  const off = await daemon.status("off");
  expect(off).toMatchObject({
    revision: null,
    error: { code: "unavailable", message: "no route to it" },
  });
  // By now it may have tried again.
  expect(off["failures"]).toBeGreaterThan(0);
  daemon.source("off").beforeList = () => {};
  await daemon.event("off", "done");
  expect(await daemon.get("/readyz")).toMatchObject({ status: 200 });
  expect(await daemon.status("off")).toMatchObject({ failures: 0, error: null });
});

it("goes on where a source cannot even be opened, unless it never can be", async () => {
  const mount = mountConfig("site", join(scratch(), "t"));
  const unopened = memorySource({}, "site");
  const start = () =>
    startDaemon(daemonConfig([mount]), { resolveSources: async () => [unopened] });
  failToOpen(unopened, new SourceError("unavailable", "no route to it"));
  const daemon = start();
  expect((await daemon.event("site", "failed")).error.message).toBe("no route to it");
  await daemon.stop();
  failToOpen(unopened, new UsageError("no such ref"));
  await expect(start().exit).rejects.toThrow("no such ref");
});

it("outlives a source that is gone for an hour", async () => {
  // Only waits pass at once: what is real, files and sockets, takes the time that it takes.
  vi.useFakeTimers({ toFake: ["setTimeout", "clearTimeout", "performance", "Date"] });
  onTestFinished(() => void vi.useRealTimers());
  const daemon = startDaemon(
    daemonConfig([mountConfig("site", join(scratch(), "t"), { options: { period: 30_000 } })]),
  );
  let { delay } = await daemon.event("site", "waiting");
  const source = daemon.source("site");
  source.beforeList = unreachable;
  let failures = 0;
  for (let gone = 0; gone < 3_600_000; gone += delay) {
    await vi.advanceTimersByTimeAsync(delay);
    ({ failures, delay } = await daemon.event("site", "failed", (e) => e.failures > failures));
    await daemon.event("site", "waiting", (event) => event.delay === delay);
    // Once it is back, it is not overlooked for longer.
    expect(delay).toBeLessThanOrEqual(60_000);
  }
  // Fewer tries than polls would be.
  expect(failures).toBeGreaterThan(60);
  expect(failures).toBeLessThan(85);
  expect(await daemon.status("site")).toMatchObject({ failures });
  expect(await daemon.get("/livez")).toMatchObject({ status: 200 });
  expect(await daemon.get("/readyz")).toMatchObject({ status: 200 });
  expect(await daemon.get("/readyz?maxAge=5m")).toEqual({ status: 503, text: "not fresh: site\n" });
  source.beforeList = () => {};
  source.content = { a: "new" };
  await vi.advanceTimersByTimeAsync(delay);
  await daemon.event("site", "done", ({ result }) => result.previousRevision !== undefined);
  expect(await daemon.get("/readyz?maxAge=5m")).toMatchObject({ status: 200 });
  const recovered = await daemon.event("site", "recovered");
  expect(recovered).toMatchObject({ failures, tookOver: false });
  expect(recovered.duration).toBeGreaterThan(3_500_000);
});

it("does not live once an attempt has not ended by its deadline, and a minute", async () => {
  // The clock goes on, and the timers do not fire that would end the attempt.
  vi.useFakeTimers({ toFake: ["performance"] });
  onTestFinished(() => void vi.useRealTimers());
  const mount = mountConfig("site", join(scratch(), "t"), { options: { timeout: 600_000 } });
  const daemon = startDaemon(daemonConfig([mount]));
  daemon.source("site").beforeList = () => new Promise(() => {});
  await daemon.event("site", "step", ({ step }) => step === "list");
  vi.advanceTimersByTime(600_000);
  expect(await daemon.get("/livez")).toMatchObject({ status: 200 });
  vi.advanceTimersByTime(70_000);
  expect(await daemon.get("/livez")).toEqual({ status: 503, text: "no attempt ends: site\n" });
});

it("goes on where a source does not answer when it is opened", async () => {
  const never = neverAnswering(memorySource({}, "site"), "open");
  const mount = mountConfig("site", join(scratch(), "t"), { options: { timeout: 100 } });
  const daemon = startDaemon(daemonConfig([mount], { shutdownGrace: 0 }), {
    resolveSources: async () => [never],
  });
  const failed = await daemon.event("site", "failed", ({ failures }) => failures === 2);
  expect(failed.error.message).toMatch(/took longer than/);
  expect(await daemon.get("/livez")).toMatchObject({ status: 200 });
  expect(await daemon.get("/readyz")).toMatchObject({ status: 503 });
});

it("reckons by a clock that nobody can set", async () => {
  vi.useFakeTimers({ toFake: ["Date"] });
  onTestFinished(() => void vi.useRealTimers());
  const daemon = startDaemon(
    daemonConfig([mountConfig("site", join(scratch(), "t"), { options: { period: 50 } })]),
  );
  await daemon.event("site", "done");
  for (const step of [86_400_000, -2 * 86_400_000, 40 * 365 * 86_400_000]) {
    vi.setSystemTime(Date.now() + step);
    const lists = daemon.source("site").lists;
    expect(await daemon.get("/livez")).toMatchObject({ status: 200 });
    expect(await daemon.get("/readyz?maxAge=10s")).toMatchObject({ status: 200 });
    await eventually(() => expect(daemon.source("site").lists).toBeGreaterThan(lists + 1));
  }
});

it("never has more mounts at work than allowed, nor one of them twice", async () => {
  const folder = scratch();
  const names = Array.from({ length: FULL ? 50 : 12 }, (_, index) => `m${index}`);
  const daemon = startDaemon(
    daemonConfig(
      names.map((name) => mountConfig(name, join(folder, name), { options: { period: 5000 } })),
      { maxActive: 3 },
    ),
  );
  let active = 0;
  let most = 0;
  const busy = new Set<string>();
  const allAtWork = Promise.withResolvers<void>();
  for (const name of names) {
    daemon.source(name).beforeList = async () => {
      expect(busy.has(name)).toBe(false);
      busy.add(name);
      most = Math.max(most, ++active);
      // The first ones wait for each other, and those after them for whoever might come beside them.
      if (most === 3) allAtWork.resolve();
      await allAtWork.promise;
      await new Promise(setImmediate);
      active--;
      busy.delete(name);
    };
  }
  for (const name of names) await daemon.event(name, "done");
  expect(most).toBe(3);
  expect(await daemon.get("/readyz")).toMatchObject({ status: 200 });
  expect(await daemon.stop()).toBe(0);
});

it("is ready at once after a restart, while the source is out of reach", async () => {
  const target = join(scratch(), "t");
  await sync({ sources: [memorySource({ a: "1" }, "site")], target });
  const daemon = startDaemon(daemonConfig([mountConfig("site", target)]), {
    resolveSources: async () => [
      Object.assign(memorySource({}, "site"), { beforeList: () => new Promise<void>(() => {}) }),
    ],
  });
  expect(await daemon.get("/readyz")).toEqual({ status: 200, text: "ok\n" });
  expect(await daemon.get("/readyz?maxAge=5m")).toMatchObject({ status: 200 });
  expect(await daemon.status("site")).toMatchObject({ files: 1, lastAttempt: null });
});

it("is not ready after a restart where the volume has it no more, until it has it again", async () => {
  const target = join(scratch(), "t");
  const source = memorySource({ a: "1" }, "site");
  await sync({ sources: [source], target });
  for (const path of ["current", ".pannier/generations"])
    rmSync(join(target, path), { recursive: true });
  const held = Promise.withResolvers<void>();
  source.beforeList = () => held.promise;
  const daemon = startDaemon(daemonConfig([mountConfig("site", target)]), {
    resolveSources: async () => [source],
  });
  await daemon.event("site", "step");
  expect(await daemon.get("/readyz")).toMatchObject({ status: 503 });
  held.resolve();
  await daemon.event("site", "done");
  expect(await daemon.get("/readyz")).toMatchObject({ status: 200 });
});

it.each<readonly [what: string, lose: (target: string) => void]>([
  ["all that is in it", (target) => readdirSync(target).forEach((name) => remove(target, name))],
  ["the target", (target) => remove(target)],
  [
    "the target, recreated",
    (target) => {
      remove(target);
      mkdirSync(target);
    },
  ],
  [
    "the target, moved away and recreated",
    (target) => {
      renameSync(target, `${target}-moved`);
      mkdirSync(target);
    },
  ],
  ["what is Pannier's", (target) => remove(target, ".pannier")],
  ["the trees", (target) => remove(target, ".pannier/generations")],
  ["the state", (target) => remove(target, ".pannier/state.db")],
])("publishes again after somebody took away %s", async (_, lose) => {
  const target = join(scratch(), "t");
  const config = mountConfig("site", target, { options: { period: 100 } });
  const daemon = startDaemon(daemonConfig([config]));
  await daemon.event("site", "waiting");
  lose(target);
  await eventually(() => expect(readFileSync(join(target, "current/a"), "utf8")).toBe("site"));
  await eventually(async () => expect(await daemon.get("/readyz")).toMatchObject({ status: 200 }));
  daemon.source("site").content = { a: "2" };
  await eventually(() => expect(readFileSync(join(target, "current/a"), "utf8")).toBe("2"));
});

it("tells a source's newest revision, also where it changed no published file", async () => {
  const target = join(scratch(), "t");
  const ringing = new EventEmitter();
  const source = Object.assign(memorySource({ a: "1" }, "site"), { token: "r1", revision: "r1" });
  const daemon = startDaemon(daemonConfig([mountConfig("site", target)]), {
    triggers: on(ringing, "ring"),
    resolveSources: async () => [source],
  });
  await daemon.event("site", "waiting");
  expect(await daemon.status("site")).toMatchObject({
    revision: "r1",
    sources: [{ revision: "r1" }],
  });
  source.token = source.revision = "r2";
  ringing.emit("ring");
  await eventually(async () =>
    expect(await daemon.status("site")).toMatchObject({
      revision: "r1",
      sources: [{ revision: "r2" }],
    }),
  );
});

it("is ready only while readers find the tree, and brings it back, however far the next look is", async () => {
  const target = join(scratch(), "t");
  const daemon = startDaemon(daemonConfig([mountConfig("site", target)]));
  await daemon.event("site", "waiting");
  expect(await daemon.get("/readyz")).toMatchObject({ status: 200 });
  rmSync(join(target, "current"));
  expect(await daemon.get("/readyz")).toEqual({
    status: 503,
    text: "what was published is gone: site\n",
  });
  await eventually(async () => expect(await daemon.get("/readyz")).toMatchObject({ status: 200 }));
  expect(readFileSync(join(target, "current/a"), "utf8")).toBe("site");
});

it("is ready once the link is back that the volume had lost, while the source is out of reach", async () => {
  const target = join(scratch(), "t");
  const source = memorySource({ a: "1" }, "site");
  await sync({ sources: [source], target });
  rmSync(join(target, "current"));
  source.beforeList = unreachable;
  const daemon = startDaemon(daemonConfig([mountConfig("site", target)]), {
    resolveSources: async () => [source],
  });
  await daemon.event("site", "failed");
  expect(readFileSync(join(target, "current/a"), "utf8")).toBe("1");
  expect(await daemon.get("/readyz")).toMatchObject({ status: 200 });
});

it("abandons a download when it is to end, and goes on with it at the next start", async () => {
  const target = join(scratch(), "t");
  const config = daemonConfig([mountConfig("site", target)], { shutdownGrace: 10_000 });
  const content = Object.fromEntries(
    Array.from({ length: 40 }, (_, index) => [`f${index}`, `${index}`]),
  );
  const first = startDaemon(config, { contents: { site: content } });
  const source = first.source("site");
  let stuck: (() => void) | undefined;
  source.beforeRead = ({ path }) => (path < "f3" ? undefined : new Promise<void>(() => stuck?.()));
  await new Promise<void>((resolve) => {
    stuck = resolve;
  });
  const took = ownTime();
  expect(await first.stop()).toBe(0);
  // Not the grace, which is for hooks.
  expect(took()).toBeLessThan(5000);
  const second = startDaemon(config, { contents: { site: content } });
  await second.event("site", "published");
  expect(second.source("site").reads.length).toBeLessThan(40);
  expect(readFileSync(join(target, "current/f39"), "utf8")).toBe("39");
});

it("ends although a source does not", async () => {
  const mount = mountConfig("site", join(scratch(), "t"));
  const daemon = startDaemon(daemonConfig([mount], { shutdownGrace: 200 }), {
    resolveSources: neverClosing,
  });
  await daemon.event("site", "waiting");
  const took = ownTime();
  expect(await daemon.stop()).toBe(0);
  // Not the time that the engine gives a source to close.
  expect(took()).toBeLessThan(15_000);
  expect(daemon.log.join("\n")).toMatch(/warn .*does not end.*"mount":"site"/);
});

it("waits for a target that another process holds", async () => {
  const target = join(scratch(), "t");
  const first = startDaemon(daemonConfig([mountConfig("site", target)]));
  await first.event("site", "done");
  const second = startDaemon(daemonConfig([mountConfig("site", target)]));
  const failed = await second.event("site", "failed");
  expect(failed.error.name).toBe("TargetError");
  expect(await second.get("/livez")).toMatchObject({ status: 200 });
  await first.stop();
  await second.event("site", "done");
  expect(await second.event("site", "recovered")).toMatchObject({ tookOver: true });
});

it("does not wait where the configuration cannot be", async () => {
  const nested = mountConfig("site", join(scratch(), "t"), { options: { link: "a/b" } });
  await expect(startDaemon(daemonConfig([nested])).exit).rejects.toThrow(/link name/);
  const { exit } = startDaemon(daemonConfig([mountConfig("site", join(scratch(), "t"))]), {
    resolveSources: () => Promise.reject(new Error("no adapter")),
  });
  await expect(exit).rejects.toThrow("no adapter");
});

it("says which of several mounts cannot be", async () => {
  const right = mountConfig("right", join(scratch(), "t"));
  const nested = mountConfig("wrong", join(scratch(), "t"), { options: { link: "a/b" } });
  const failed: unknown = await startDaemon(daemonConfig([right, nested])).exit.catch((e) => e);
  expect(failed).toMatchObject({ name: "UsageError", hint: expect.any(String) });
  expect(String(failed)).toMatch(/mount "wrong": .*link name/);
});

it("allows a sync and a hook longer than a timer can be", async () => {
  const days = 30 * 86_400_000;
  const hook = { command: ["/bin/sleep", "0.1"], timeout: days, env: {}, retries: 0 };
  const mount = mountConfig("site", join(scratch(), "t"), {
    options: { timeout: days },
    hooks: { postPublish: [hook] },
  });
  const daemon = startDaemon(daemonConfig([mount]));
  expect(await daemon.event("site", "hook")).toMatchObject({ result: "success" });
  expect(await daemon.status("site")).toMatchObject({ failures: 0 });
  expect(daemon.events.some(([, { type }]) => type === "failed")).toBe(false);
});

it("does not begin with a timeout or a period of nothing", async () => {
  for (const options of [{ timeout: 0 }, { period: 0 }]) {
    const mount = mountConfig("site", join(scratch(), "t"), { options });
    await expect(startDaemon(daemonConfig([mount])).exit).rejects.toThrow("must be greater than 0");
  }
});

it("ends after too many failures in a row, with the code of the last", async () => {
  const target = join(scratch(), "t");
  mkdirSync(target);
  writeFileSync(join(target, "current"), "in the way");
  const daemon = startDaemon(daemonConfig([mountConfig("site", target)], { maxFailures: 1 }));
  expect(await daemon.exit).toBe(2);
  expect(daemon.events.filter(([, { type }]) => type === "failed")).toHaveLength(2);
});

it("syncs once, without a port", async () => {
  const folder = scratch();
  const mounts = [mountConfig("one", join(folder, "1")), mountConfig("two", join(folder, "2"))];
  const daemon = startDaemon(daemonConfig(mounts), { once: true });
  expect(await daemon.exit).toBe(0);
  expect(readFileSync(join(folder, "2/current/a"), "utf8")).toBe("two");
  expect(daemon.log.some((line) => line.includes("listening"))).toBe(false);
});

it("syncs once, and fails where one mount does", async () => {
  const folder = scratch();
  const mounts = [mountConfig("one", join(folder, "1")), mountConfig("two", join(folder, "2"))];
  const daemon = startDaemon(daemonConfig(mounts), { once: true });
  daemon.source("one").beforeList = unreachable;
  expect(await daemon.exit).toBe(5);
  expect(readFileSync(join(folder, "2/current/a"), "utf8")).toBe("two");
});

it.each([
  ["open", { timeout: 200 }, 5],
  ["list", { timeout: 200 }, 5],
  ["close", { idleTimeout: 200 }, 0],
] as const)(
  "syncs once, and ends where a source never answers: %s",
  async (method, options, code) => {
    const folder = scratch();
    const sources = [
      neverAnswering(memorySource({ a: "one" }, "one"), method),
      memorySource({ a: "two" }, "two"),
    ];
    const mounts = [
      mountConfig("one", join(folder, "one"), { options }),
      mountConfig("two", join(folder, "two")),
    ];
    const daemon = startDaemon(daemonConfig(mounts), {
      once: true,
      resolveSources: async ([url]) =>
        sources.filter(({ location }) => url === `memory://${location.host}`),
    });
    expect(await daemon.exit).toBe(code);
    expect(readFileSync(join(folder, "two/current/a"), "utf8")).toBe("two");
    expect(existsSync(join(folder, "one/current/a"))).toBe(code === 0);
  },
);
