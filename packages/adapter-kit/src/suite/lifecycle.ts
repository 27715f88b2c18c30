/** Cancelling works at every moment, and closing frees everything. */
import { readdir } from "node:fs/promises";
import { setTimeout as sleep } from "node:timers/promises";
import { listAll, readAll } from "../open-source.ts";
import { awake } from "./awake.ts";
import { type AllTraits, type Check, noise, type Trial, when } from "./trial.ts";

/** Milliseconds within which an abort must take effect. */
const PROMPT = 1000;

export function lifecycleChecks(check: Check, traits: AllTraits): void {
  abortChecks(check, traits);
  closeChecks(check, traits);
  publishedCheck(check);
}

function publishedCheck(check: Check): void {
  check("what was listed can be read after it was published, too", async (t) => {
    const { source, warnings } = await t.opened({ file: "x" });
    if (source.published === undefined)
      return t.skip("the source keeps nothing for older revisions");
    await source.published(AbortSignal.timeout(t.settings.timeout));
    const entry = (await listAll(source)).file("file");
    await source.published(AbortSignal.timeout(t.settings.timeout));
    t.expect((await readAll(source, entry)).toString()).toBe("x");
    t.expect((await listAll(source)).paths).toEqual(["file"]);
    t.expect(warnings).toEqual([]);
  });
}

function abortChecks(check: Check, traits: AllTraits): void {
  check("does nothing under a signal that is aborted already", async (t) => {
    const { source, requests } = await t.opened({ file: "x" });
    const entry = (await listAll(source)).file("file");
    const before = requests.length;
    await rejectsWithReason(t, (signal) => source.probe(signal), 0);
    await rejectsWithReason(t, (signal) => listAll(source, signal), 0);
    await rejectsWithReason(t, (signal) => readAll(source, entry, undefined, signal), 0);
    t.expect(requests.length).toBe(before);
  });

  check("stops listing when aborted, or has listed everything", async (t) => {
    const files = new Map<string, string>();
    for (let i = 0; i < t.settings.manyFiles; i++) files.set(`dir-${i % 10}/file-${i}`, "x");
    const { source } = await t.opened(files);
    const abort = new AbortController();
    const reason = new Error("stopped by the test");
    let listed = 0;
    try {
      for await (const batch of (await source.list(abort.signal)).entries) {
        listed += batch.length;
        abort.abort(reason);
      }
      t.expect(listed).toBe(files.size);
    } catch (error) {
      t.expect(error).toBe(reason);
    }
  });

  check("stops reading when aborted", async (t) => {
    const content = noise(Math.min(16 << 20, t.settings.largeFile), 16);
    const { source } = await t.opened({ file: content });
    const entry = (await listAll(source)).file("file");
    const abort = new AbortController();
    const reason = new Error("stopped by the test");
    let length = 0;
    try {
      const body = await source.read(entry, undefined, abort.signal);
      if (body instanceof Uint8Array) return t.skip("the file comes in one piece");
      for await (const chunk of body) {
        length += chunk.length;
        abort.abort(reason);
      }
      t.expect.unreachable(`${length} bytes were read in spite of the abort`);
    } catch (error) {
      t.expect(error).toBe(reason);
    }
    t.expect((await readAll(source, entry)).equals(content), "after that").toBe(true);
  });

  when(traits.network !== "none", check)(
    "stops waiting for a silent server when aborted",
    async (t) => {
      const { source, proxy } = await t.proxied(
        { file: noise(1 << 20, 1) },
        { idleTimeout: 30_000 },
      );
      await proxy.set({ stallAfter: 0 });
      await rejectsWithReason(t, (signal) => listAll(source, signal), 200);
      await proxy.set({});
      const entry = (await listAll(source)).file("file");
      for (const stallAfter of [0, 100_000]) {
        await proxy.set({ stallAfter });
        await rejectsWithReason(
          t,
          (signal) => readAll(source, entry, undefined, signal),
          200,
          true,
        );
      }
      await proxy.set({ stallAfter: 0 });
      await rejectsWithReason(t, (signal) => source.probe(signal), 200, true);
    },
  );
}

function closeChecks(check: Check, traits: AllTraits): void {
  check("may be closed more than once, and frees everything", async (t) => {
    const files = { "a/b": noise(1 << 20, 1), c: "x" };
    const store = await t.store(files);
    const before = await openDescriptors();
    for (let i = 0; i < 5; i++) {
      const { source } = await t.open(store.source({}));
      const listed = await listAll(source);
      await readAll(source, listed.file("c"));
      const body = await source.read(listed.file("a/b"), undefined, new AbortController().signal);
      // Left with a body that nobody reads.
      if (!(body instanceof Uint8Array)) await body[Symbol.asyncIterator]().next();
      await source.close();
      await source.close();
    }
    // The other ends of connections close a moment later.
    let after = await openDescriptors();
    for (let i = 0; i < 40 && after > before; i++) {
      await sleep(50);
      after = await openDescriptors();
    }
    t.expect(after, "open descriptors").toBeLessThanOrEqual(before);
  });

  when(traits.network !== "none", check)("closes its connections", async (t) => {
    const { source, proxy } = await t.proxied({ file: "x" });
    await readAll(source, (await listAll(source)).file("file"));
    await source.close();
    for (let i = 0; i < 40 && proxy.stats.open > 0; i++) await sleep(50);
    t.expect(proxy.stats.open).toBe(0);
  });

  check("may be closed without having been used", async (t) => {
    const { source } = await t.opened({ file: "x" });
    await source.close();
  });
}

/** Aborts after some milliseconds, and expects exactly the reason of the abort. */
async function rejectsWithReason(
  t: Trial,
  run: (signal: AbortSignal) => Promise<unknown>,
  after: number,
  mayFinish = false,
): Promise<void> {
  const abort = new AbortController();
  const reason = new Error("stopped by the test");
  if (after === 0) abort.abort(reason);
  const outcome = run(abort.signal).then(
    () => "finished",
    (error: unknown) => error,
  );
  const timer = setTimeout(() => abort.abort(reason), after);
  const late = awake(after + PROMPT).then(() => "late");
  const ended = await Promise.race([outcome, late]);
  clearTimeout(timer);
  if (mayFinish && ended === "finished") return;
  t.expect(ended, "the reason of the abort, promptly").toBe(reason);
}

/** How many descriptors of files, sockets and pipes this process has; 0 where the system does not tell. */
async function openDescriptors(): Promise<number> {
  return (await readdir("/proc/self/fd").catch(() => [])).length;
}
