/** A server that fails in every way: the right code, in time, and never short or wrong content. */
import { createServer } from "node:net";
import { once } from "node:events";
import type { AddressInfo } from "node:net";
import type { SourceErrorCode } from "@pannier/core/adapter";
import type { Faults } from "../fault-proxy.ts";
import { listAll, readAll } from "../open-source.ts";
import { awake } from "./awake.ts";
import { type AllTraits, type Check, listAndRead, noise, when } from "./trial.ts";

const CONTENT = noise(3 << 20, 5);
/** Of a store that holds as much. */
function contentFor(largeFile: number): { readonly content: Buffer; readonly middle: number } {
  const content = CONTENT.subarray(0, largeFile);
  // In the middle of the content, whatever surrounds it.
  return { content, middle: Math.floor(content.length / 3) };
}

/** Milliseconds that a source may take on top of its idle timeout on a busy machine. */
const SLACK = 4000;

export function faultChecks(check: Check, traits: AllTraits): void {
  addressChecks(check, traits);
  connectionChecks(check, traits);
  contentChecks(check, traits);
  statusChecks(check, traits);
}

function addressChecks(check: Check, traits: AllTraits): void {
  check("what is wrong with an address has its code", async (t) => {
    const failures = Object.entries(t.failures) as [
      SourceErrorCode,
      (typeof t.failures)["auth"] & {},
    ][];
    if (failures.length === 0) return t.skip("the harness gives no addresses that fail");
    for (const [code, address] of failures) {
      const store = await t.store({ file: "x" });
      // Opening may find out at once, or the listing does.
      const error = await t.fails(openAndList(address), code);
      t.expect(error.transient, `transient, of ${code}`).toBe(
        code === "unavailable" || code === "throttled",
      );

      async function openAndList(make: typeof address) {
        return listAll((await t.open(await make(store))).source);
      }
    }
  });

  when(traits.directories, check)(
    "a directory that is not there is not found, or empty where there are no directories",
    async (t) => {
      const store = await t.store({ "site-old/file": "x" });
      const listing = (async () => {
        const { source } = await t.open(store.source({ directory: "site" }));
        return Buffer.from(`${(await listAll(source)).paths.length}`);
      })();
      const outcome = await t.outcome(listing, "not-found");
      if (typeof outcome !== "string") t.expect(outcome.toString()).toBe("0");
    },
  );

  when(traits.network !== "none", check)(
    "a port where nobody listens is unavailable",
    async (t) => {
      const store = await t.store({ file: "x" });
      const gone = createServer().listen(0, "127.0.0.1");
      await once(gone, "listening");
      const { port } = gone.address() as AddressInfo;
      gone.close();
      await once(gone, "close");
      const opening = (async () => listAll((await t.open(store.source({ port }))).source))();
      t.expect((await t.fails(opening, "unavailable")).transient).toBe(true);
    },
  );
}

function connectionChecks(check: Check, traits: AllTraits): void {
  const atOnce: Record<string, Faults> = {
    "cut at once": { cutAfter: 0 },
    "cut in the first answer": { cutAfter: 15 },
    "reset at once": { resetAfter: 0 },
    "silent from the start": { stallAfter: 0 },
    "silent in the first answer": { stallAfter: 15 },
  };
  for (const [what, faults] of Object.entries(atOnce)) {
    when(traits.network !== "none", check)(
      `a connection ${what} is unavailable; then all is well again`,
      async (t) => {
        const { source, proxy } = await t.proxied(
          { file: "x" },
          { idleTimeout: t.settings.idleTimeout },
        );
        await proxy.set(faults);
        let isLate = false;
        void awake(t.settings.idleTimeout + SLACK).then(() => (isLate = true));
        const error = await t.fails(listAll(source), "unavailable");
        t.expect(error.transient).toBe(true);
        t.expect(isLate, "it gave up long after its idle timeout").toBe(false);
        await proxy.set({});
        t.expect((await listAll(source)).paths).toEqual(["file"]);
      },
    );
  }

  const inTheMiddle: Record<string, (middle: number) => Faults> = {
    cut: (middle) => ({ cutAfter: middle }),
    reset: (middle) => ({ resetAfter: middle }),
    silent: (middle) => ({ stallAfter: middle }),
  };
  for (const [what, faultsAt] of Object.entries(inTheMiddle)) {
    when(traits.network !== "none", check)(
      `a connection ${what} in the middle: all of the content, or unavailable`,
      async (t) => {
        const { content, middle } = contentFor(t.settings.largeFile);
        const faults = faultsAt(middle);
        const { source, proxy } = await t.proxied(
          { file: content },
          { idleTimeout: t.settings.idleTimeout },
        );
        await proxy.set(faults);
        let outcome = await t.outcome(listAndRead(source, "file"), "unavailable");
        if (typeof outcome !== "string") t.expect(outcome.equals(content)).toBe(true);

        await proxy.set({});
        const entry = (await listAll(source)).file("file");
        await proxy.set(faults);
        for (const range of [undefined, { offset: 1000, length: content.length - 2000 }]) {
          outcome = await t.outcome(readAll(source, entry, range), "unavailable");
          const part = range === undefined ? content : content.subarray(1000, -1000);
          if (typeof outcome !== "string") t.expect(outcome.equals(part)).toBe(true);
        }
        await proxy.set({});
        t.expect((await readAll(source, entry)).equals(content), "after that").toBe(true);
      },
    );
  }
}

function contentChecks(check: Check, traits: AllTraits): void {
  when(traits.network !== "none", check)(
    "a slow server is waited for as long as it shows signs of life",
    async (t) => {
      const content = noise(60_000, 9);
      const { source, proxy } = await t.proxied(
        { file: content },
        { idleTimeout: t.settings.idleTimeout },
      );
      const entry = (await listAll(source)).file("file");
      await proxy.set({ bytesPerSecond: 60_000 });
      t.expect((await readAll(source, entry)).equals(content)).toBe(true);
    },
  );

  when(traits.network !== "none" && traits.integrity, check)(
    "corrupted content is noticed",
    async (t) => {
      const { content, middle } = contentFor(t.settings.largeFile);
      const { source, proxy } = await t.proxied(
        { file: content },
        { idleTimeout: t.settings.idleTimeout },
      );
      await proxy.set({ corruptAt: middle });
      const codes = ["invalid", "unavailable"] as const;
      let outcome = await t.outcome(listAndRead(source, "file"), ...codes);
      if (typeof outcome !== "string") t.expect(outcome.equals(content)).toBe(true);
      await proxy.set({});
      const entry = (await listAll(source)).file("file");
      await proxy.set({ corruptAt: middle });
      outcome = await t.outcome(readAll(source, entry), ...codes);
      if (typeof outcome !== "string") t.expect(outcome.equals(content)).toBe(true);
    },
  );
}

function statusChecks(check: Check, traits: AllTraits): void {
  const answers: [status: number, retryAfter: number | undefined, code: SourceErrorCode][] = [
    [429, 7, "throttled"],
    [429, undefined, "throttled"],
    [503, 2, "unavailable"],
    [503, undefined, "unavailable"],
    [500, undefined, "unavailable"],
    [502, undefined, "unavailable"],
  ];
  for (const [status, retryAfter, code] of answers) {
    const suffix = retryAfter === undefined ? "" : ` with Retry-After: ${retryAfter}`;
    when(traits.network === "http", check)(
      `HTTP ${status}${suffix} is ${code}, and is not tried again by the adapter`,
      async (t) => {
        const { source, proxy } = await t.proxied({ file: "content" });
        await proxy.set({ http: { status, retryAfter, first: 1 } });
        // Some servers' 503 means "slow down": with the code throttled that is right too.
        const codes = status === 503 ? (["unavailable", "throttled"] as const) : [code];
        const error = await t.fails(listAll(source), ...codes);
        t.expect(error.transient).toBe(true);
        t.expect(error.retryAfter).toBe(retryAfter === undefined ? undefined : retryAfter * 1000);
        t.expect(proxy.stats.requests, "requests made").toBe(1);

        const entry = (await listAll(source)).file("file");
        await proxy.set({ http: { status, retryAfter, first: 1 } });
        const outcome = await t.outcome(readAll(source, entry), ...codes);
        if (typeof outcome !== "string") t.expect(outcome.toString()).toBe("content");
        t.expect((await readAll(source, entry)).toString()).toBe("content");
      },
    );
  }
}
