/** The relay: what is published is pushed, at least once, the latest last. */
import { join } from "node:path";
import { SourceError, status } from "@pannier/core";
import { expect, it } from "vitest";
import { daemonConfig, mountConfig, scratch, startDaemon } from "./run-daemon.ts";
import { eventually } from "../../../test/support/eventually.ts";

const TO = "oci+http://127.0.0.1:1/team/site:live";

/** A daemon with one mount, and what it pushed. */
function start(folder: string, more: Partial<Parameters<typeof startDaemon>[1]> = {}) {
  const pushed: string[] = [];
  const registry = { fails: 0, hold: undefined as Promise<void> | undefined };
  const target = join(folder, "t");
  const hooks = {
    push: { push: TO, layers: undefined, credentials: undefined, retries: 5 },
    postPublish: [],
  };
  const mount = mountConfig("site", target, { hooks, options: { period: 50 } });
  const daemon = startDaemon(daemonConfig([mount]), {
    push: {
      check: async () => {},
      async run({ destination }) {
        await registry.hold;
        if (registry.fails-- > 0) throw new SourceError("unavailable", "no registry");
        // What pushes looks at what is published by then.
        pushed.push(`${destination} ${status(target)?.revision}`);
      },
    },
    ...more,
  });
  return { daemon, pushed, registry, target };
}

it("pushes each revision once, also after a restart", async () => {
  const folder = scratch();
  const first = start(folder);
  await eventually(() => expect(first.pushed).toHaveLength(1));
  first.daemon.source("site").content = { a: "2" };
  await eventually(() => expect(first.pushed).toHaveLength(2));
  expect(first.pushed[1]).toBe(`${TO} ${status(first.target)?.revision}`);
  await first.daemon.stop();
  const second = start(folder, { contents: { site: { a: "2" } } });
  await second.daemon.event("site", "done");
  second.daemon.source("site").content = { a: "3" };
  await eventually(() => expect(second.pushed).toHaveLength(1));
  await second.daemon.stop();
});

it("pushes what a process that was killed did not", async () => {
  const folder = scratch();
  const first = start(folder);
  first.registry.fails = Infinity;
  await first.daemon.event("site", "hook", ({ result }) => result === "failure");
  await first.daemon.stop();
  expect(first.pushed).toEqual([]);
  const second = start(folder);
  await eventually(() => expect(second.pushed).toHaveLength(1));
  await second.daemon.stop();
});

it("tries again until it succeeds, and tells that it failed", async () => {
  const { daemon, pushed, registry } = start(scratch());
  registry.fails = 2;
  const failed = await daemon.event("site", "hook", ({ result }) => result === "failure");
  expect(failed).toMatchObject({ what: TO, message: "no registry", retry: expect.any(Number) });
  await eventually(() => expect(pushed).toHaveLength(1));
  await daemon.stop();
});

it("never pushes an older revision over a newer one", async () => {
  const { daemon, pushed, registry, target } = start(scratch());
  const { promise, resolve } = Promise.withResolvers<void>();
  registry.hold = promise;
  const published = () => daemon.events.filter(([, { type }]) => type === "published").length;
  for (const count of [1, 2, 3]) {
    daemon.source("site").content = { a: String(count) };
    await eventually(() => expect(published()).toBeGreaterThanOrEqual(count));
  }
  const newest = status(target)?.revision;
  resolve();
  await eventually(() => expect(pushed.length).toBeGreaterThanOrEqual(1));
  // The one that was under way found the newest already.
  expect(new Set(pushed)).toEqual(new Set([`${TO} ${newest}`]));
  await daemon.stop();
});

it("does not hold up the hooks", async () => {
  const folder = scratch();
  const mount = mountConfig("site", join(folder, "t"), {
    hooks: {
      push: { push: TO, layers: undefined, credentials: undefined, retries: 5 },
      postPublish: [{ command: ["/bin/true"], timeout: 10_000, env: {}, retries: 0 }],
    },
  });
  const daemon = startDaemon(daemonConfig([mount]), {
    push: { check: async () => {}, run: () => new Promise(() => {}) },
  });
  const ran = await daemon.event("site", "hook", ({ result }) => result === "success");
  expect(ran.what).toBe("/bin/true");
  void daemon.stop();
});

it("refuses a configuration with a destination that is none", async () => {
  const mount = mountConfig("site", join(scratch(), "t"), {
    hooks: { push: { push: "s3://bucket", layers: undefined, credentials: undefined, retries: 5 } },
  });
  const daemon = startDaemon(daemonConfig([mount]), {
    push: {
      check: async () => {
        throw new SourceError("invalid", "no destination");
      },
      run: async () => {},
    },
  });
  await expect(daemon.exit).rejects.toThrow("no destination");
});
