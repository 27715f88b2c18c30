/** Changes are noticed, and never mixed into what was listed before. */
import type { Entry, FileEntry, Source } from "@pannier/core/adapter";
import { listAll, readAll } from "../open-source.ts";
import { awake } from "./awake.ts";
import { type AllTraits, type Check, noise, when } from "./trial.ts";

export function changeChecks(check: Check, traits: AllTraits): void {
  fingerprintChecks(check, traits);
  versionChecks(check, traits);
  differenceChecks(check);
}

function fingerprintChecks(check: Check, traits: AllTraits): void {
  check("fingerprints stay the same without a change", async (t) => {
    const { source, store } = await t.opened({ a: "1", "b/c": "2", empty: "" });
    const first = fingerprints((await listAll(source)).entries);
    const second = fingerprints((await listAll(source)).entries);
    const elsewhere = await t.open(store.source({}));
    t.expect(second).toEqual(first);
    t.expect(fingerprints((await listAll(elsewhere.source)).entries)).toEqual(first);
  });

  check("fingerprints differ for each content at a path", async (t) => {
    const { source, store } = await t.opened({ file: "version 0", other: "x" });
    const seen = new Set<string>();
    const others = new Set<string>();
    // Not all of the same size, and some of them are.
    for (const [index, content] of versions(traits, [
      "version 0",
      "version 1",
      "v2",
      "",
      "version 4",
    ]).entries()) {
      if (index > 0) await t.change(store, { file: content });
      const listed = await listAll(source);
      seen.add(listed.file("file").fingerprint);
      others.add(listed.file("other").fingerprint);
    }
    t.expect(seen.size).toBe(5);
    t.expect(others.size, "of a file that did not change").toBe(1);
  });

  check(
    "probes: the same token without a change, another after one, with one request at most",
    async (t) => {
      const { source, store, requests } = await t.opened({ file: "1" });
      const { signal } = new AbortController();
      const before = requests.length;
      const first = await source.probe(signal);
      if (first === undefined) return t.skip("the source has no probe");
      t.expect(requests.length - before).toBeLessThanOrEqual(1);
      t.expect(first.token).not.toBe("");
      t.expect((await source.probe(signal, first.token))?.token).toBe(first.token);
      await listAll(source);
      t.expect((await source.probe(signal, first.token))?.token).toBe(first.token);

      await t.change(store, { file: "another" });
      const changed = await source.probe(signal, first.token);
      t.expect(changed?.token).not.toBe(first.token);
      const elsewhere = await t.open(store.source({}));
      t.expect((await elsewhere.source.probe(signal, changed?.token))?.token).toBe(changed?.token);
    },
  );

  check("a listing's token is the one that a probe gives", async (t) => {
    const { source } = await t.opened({ file: "1" });
    const { listing } = await listAll(source);
    const token = listing.token?.();
    if (token === undefined) return t.skip("listings have no token");
    t.expect((await source.probe(new AbortController().signal, token))?.token).toBe(token);
  });

  check("names a revision that changes with the content", async (t) => {
    const { source, store } = await t.opened({ file: "1" });
    const first = (await listAll(source)).revision;
    if (first === undefined) return t.skip("revisions have no names");
    t.expect((await listAll(source)).revision).toBe(first);
    await t.change(store, { file: "2" });
    t.expect((await listAll(source)).revision).not.toBe(first);
  });
}

function versionChecks(check: Check, traits: AllTraits): void {
  check("reads the version that was listed, never a later one", async (t) => {
    const [old, later] = versions(traits, ["the old one", "the new one"]) as [string, string];
    const { source, store } = await t.opened({ replaced: old, deleted: old, "dir/gone": old });
    const listed = await listAll(source);
    await t.change(store, { replaced: later, deleted: undefined, "dir/gone": undefined });
    for (const path of ["replaced", "deleted", "dir/gone"]) {
      const codes =
        path === "replaced" ? (["changed"] as const) : (["changed", "not-found"] as const);
      for (const range of [undefined, { offset: 4, length: 3 }]) {
        const outcome = await t.outcome(readAll(source, listed.file(path), range), ...codes);
        if (typeof outcome === "string") continue;
        t.expect(outcome.toString(), path).toBe(range === undefined ? old : old.slice(4, 7));
      }
    }
    // The new version is there for those who list again.
    const again = await listAll(source);
    t.expect((await readAll(source, again.file("replaced"))).toString()).toBe(later);
  });

  for (const [what, replace] of [
    ["replaced by another of the same size", (size: number) => noise(size, 2)],
    ["replaced by a shorter one", () => noise(1000, 2)],
    ["deleted", () => undefined],
  ] as const) {
    when(what !== "replaced by another of the same size" || traits.exactChanges, check)(
      `a file ${what} while it is read: all of the old one, or an error`,
      async (t) => {
        // More than the buffers of a connection hold.
        const old = noise(Math.min(24 << 20, t.settings.largeFile), 1);
        const { source, store } = await t.opened({ file: old });
        const entry = (await listAll(source)).file("file");
        const changes = { file: replace(old.length) };
        const reading = readSlowly(source, entry, () => t.change(store, changes));
        const outcome = await t.outcome(reading, "changed", "not-found", "unavailable");
        if (typeof outcome !== "string")
          t.expect(outcome.equals(old), "exactly the old content").toBe(true);
      },
    );
  }
}

function differenceChecks(check: Check): void {
  check("the changes between two revisions are the difference of their listings", async (t) => {
    const { source, store } = await t.opened({
      kept: "1",
      replaced: "2",
      "gone/a": "3",
      "gone/b": "4",
    });
    const { signal } = new AbortController();
    if (source.changes === undefined) return t.skip("the source has no changes");
    const before = await listAll(source);
    const from = (await source.probe(signal))?.revision ?? before.revision;
    await t.change(store, {
      replaced: "two",
      "new/file": "5",
      "gone/a": undefined,
      "gone/b": undefined,
      gone: "a file where a directory was",
    });
    const to = (await source.probe(signal))?.revision;
    if (from === undefined || to === undefined) return t.skip("revisions have no names");
    const delta = await source.changes(from, to, signal);
    if (delta === undefined) return t.skip("no changes between these two revisions");

    const entries = new Map(before.entries);
    const touched: string[] = [];
    for await (const batch of delta.changes) {
      for (const change of batch) {
        const path = change.kind === "put" ? change.entry.path : change.path;
        touched.push(path);
        if (change.kind === "put") entries.set(path, change.entry);
        else t.expect(entries.delete(path), `${path} was there to be deleted`).toBe(true);
      }
    }
    const after = await listAll(source);
    t.expect(fingerprints(entries)).toEqual(fingerprints(after.entries));
    t.expect(touched.toSorted()).toEqual(["gone", "gone/a", "gone/b", "new/file", "replaced"]);
    t.expect((await readAll(source, entries.get("new/file") as FileEntry)).toString()).toBe("5");
  });

  check("hints at a change within two seconds", async (t) => {
    const { source, store } = await t.opened({ "dir/file": "1" });
    if (source.watch === undefined) return t.skip("the source has no hints");
    const stop = new AbortController();
    const hints = source.watch(stop.signal)[Symbol.asyncIterator]();
    for (const path of ["dir/file", "new-dir/sub/file", "new-dir/sub/file"]) {
      const hint = hints.next();
      // Watching begins when the first hint is asked for, some time after; the engine lists once it has.
      let hinted: IteratorResult<void> | void = undefined;
      for (let i = 0; hinted === undefined && i < 4; i++) {
        await t.change(store, { [path]: `content ${Date.now()} ${i}` });
        hinted = await Promise.race([hint, awake(500)]);
      }
      t.expect(hinted, `a hint at ${path}`).toMatchObject({ done: false });
    }
    // Those of the last change may still come; then aborting must end it.
    const rest = (async () => {
      while ((await hints.next()).done !== true);
    })();
    stop.abort(new Error("enough"));
    await rest.catch((error: unknown) => t.expect(error).toBe(stop.signal.reason));
  });
}

/** Contents that the source can tell apart: of different sizes where it has nothing but those. */
function versions(traits: AllTraits, contents: readonly string[]): readonly string[] {
  return traits.exactChanges
    ? contents
    : contents.map((content, index) => content + "+".repeat(20 * index));
}

function fingerprints(entries: ReadonlyMap<string, Entry>): Record<string, string> {
  return Object.fromEntries(
    [...entries]
      .map(
        ([path, entry]) =>
          [path, entry.kind === "file" ? entry.fingerprint : entry.target] as const,
      )
      .toSorted(([a], [b]) => (a < b ? -1 : 1)),
  );
}

/** Reads a file with something done after its first bytes. */
async function readSlowly(
  source: Source,
  entry: FileEntry,
  meanwhile: () => Promise<void>,
): Promise<Buffer> {
  const body = await source.read(entry, undefined, new AbortController().signal);
  if (body instanceof Uint8Array) return Buffer.from(body);
  const chunks: Uint8Array[] = [];
  for await (const chunk of body) {
    if (chunks.length === 0) await meanwhile();
    chunks.push(Buffer.from(chunk));
  }
  return Buffer.concat(chunks);
}
