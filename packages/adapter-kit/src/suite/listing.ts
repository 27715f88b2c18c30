/** What is listed is all there is, and told rightly. */
import { comparePaths } from "@pannier/core/adapter";
import { listAll } from "../open-source.ts";
import { type AllTraits, type Check, when } from "./trial.ts";

export function listingChecks(check: Check, traits: AllTraits): void {
  entryChecks(check, traits);
  completenessChecks(check, traits);
}

function entryChecks(check: Check, traits: AllTraits): void {
  check("lists every file, in directories of any depth", async (t) => {
    const deep = `${"d/".repeat(20)}leaf`;
    const { source } = await t.opened({
      "a.txt": "1",
      "dir/b.txt": "22",
      "dir/sub/c": "",
      [deep]: "x",
    });
    const { entries } = await listAll(source);
    t.expect([...entries.keys()].toSorted()).toEqual(["a.txt", deep, "dir/b.txt", "dir/sub/c"]);
    for (const entry of entries.values()) {
      t.expect(entry.kind).toBe("file");
      if (entry.kind === "file") t.expect(entry.fingerprint).not.toBe("");
    }
  });

  check("tells sizes", async (t) => {
    const { source } = await t.opened({ empty: "", one: "1", many: "x".repeat(70_000) });
    const listed = await listAll(source);
    for (const [path, size] of Object.entries({ empty: 0, one: 1, many: 70_000 })) {
      // An unknown size is better than a wrong one, unless sizes are promised.
      if (traits.sizes) t.expect(listed.file(path).size).toBe(size);
      else t.expect([size, undefined]).toContain(listed.file(path).size);
    }
  });

  when(traits.mtimes, check)("tells modification times in milliseconds", async (t) => {
    const { source } = await t.opened({ file: "x" });
    const { mtime } = (await listAll(source)).file("file");
    // Seconds or nanoseconds taken for milliseconds fall far outside.
    t.expect(mtime).toBeGreaterThan(Date.UTC(2000, 0));
    t.expect(mtime).toBeLessThan(Date.now() + 86_400_000);
  });

  when(traits.modes !== "none", check)("tells permission bits", async (t) => {
    const content = Buffer.from("x");
    const { source } = await t.opened({
      plain: { kind: "file", content, mode: 0o644 },
      program: { kind: "file", content, mode: 0o755 },
      private: { kind: "file", content, mode: traits.modes === "all" ? 0o600 : 0o644 },
    });
    const listed = await listAll(source);
    const modes = ["plain", "program", "private"].map(
      (path) => (listed.file(path).mode ?? 0) & 0o777,
    );
    t.expect(modes).toEqual([0o644, 0o755, traits.modes === "all" ? 0o600 : 0o644]);
  });

  when(traits.symlinks, check)("lists symlinks as they are, without following them", async (t) => {
    const targets: Record<string, string> = {
      "dir/up": "../file",
      "to-dir": "dir",
      dangling: "nowhere/to be found",
      absolute: "/etc/hostname",
      outside: "../../elsewhere",
      itself: "itself",
    };
    const links = Object.entries(targets).map(
      ([path, target]) => [path, { kind: "symlink", target }] as const,
    );
    const { source } = await t.opened({
      file: "x",
      "dir/inner": "y",
      ...Object.fromEntries(links),
    });
    const { entries } = await listAll(source);
    t.expect([...entries.keys()].toSorted()).toEqual(
      ["dir/inner", "file", ...Object.keys(targets)].toSorted(),
    );
    for (const [path, target] of Object.entries(targets)) {
      t.expect(entries.get(path)).toMatchObject({ kind: "symlink", target });
    }
  });
}

function completenessChecks(check: Check, traits: AllTraits): void {
  check("lists more than fits on one page, each file once", async (t) => {
    const files = new Map<string, string>();
    for (let i = 0; i < t.settings.manyFiles; i++) {
      files.set(i % 3 === 0 ? `top-${i}` : `dir-${i % 7}/file-${i}`, `${i}`);
    }
    const { source } = await t.opened(files);
    const { paths } = await listAll(source);
    t.expect(paths.toSorted()).toEqual([...files.keys()].toSorted());
  });

  check("keeps its promise of order", async (t) => {
    // Where `/`, code units and bytes sort differently: "a-", "a/", "a0"; U+FF5E before an emoji in bytes only.
    const names = ["a/z", "a-b", "a0", "a.b/c", "a", "A", "é", "z", "～", "😀", "a b/c"];
    const paths = names
      .flatMap((name) => [`${name}.f`, `${name}/inner`])
      .filter((path) => traits.holds(path));
    const { source } = await t.opened(new Map(paths.map((path) => [path, "x"])));
    const listed = await listAll(source);
    if (!listed.listing.ordered) t.expect(listed.paths.length).toBe(paths.length);
    else t.expect(listed.paths).toEqual(paths.toSorted(comparePaths));
  });

  when(traits.directories, check)(
    "lists nothing but the directory that is asked for",
    async (t) => {
      const files = {
        "site/index": "1",
        "site/sub/page": "2",
        "site-old/index": "3",
        "site.txt": "4",
        sitemap: "5",
        "other/site/index": "6",
      };
      const store = await t.store(files);
      const { source } = await t.open(store.source({ directory: "site" }));
      const nested = await t.open(store.source({ directory: "site/sub" }));
      t.expect((await listAll(source)).paths.toSorted()).toEqual(["index", "sub/page"]);
      t.expect((await listAll(nested.source)).paths).toEqual(["page"]);
    },
  );

  check("lists again after a change: added, replaced, deleted", async (t) => {
    const { source, store } = await t.opened({ kept: "1", replaced: "2", "gone/deep": "3" });
    await listAll(source);
    await t.change(store, { replaced: "two", "new/file": "4", "gone/deep": undefined });
    t.expect((await listAll(source)).paths.toSorted()).toEqual(["kept", "new/file", "replaced"]);
  });

  check("may be listed several times at once", async (t) => {
    const { source } = await t.opened({ a: "1", "b/c": "2" });
    const listings = await Promise.all([listAll(source), listAll(source), listAll(source)]);
    for (const { paths } of listings) t.expect(paths.toSorted()).toEqual(["a", "b/c"]);
  });
}
