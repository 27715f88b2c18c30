/** What is not wanted may be passed over. What is wanted is all there. */
import { filterScope, makeFilter, type Scope } from "@pannier/core";
import { listAll } from "../open-source.ts";
import { type AllTraits, type Check, when } from "./trial.ts";

const FILES = {
  "a.txt": "1",
  "keep/b.md": "2",
  "keep/b.txt": "3",
  "keep/sub/c.md": "4",
  "skip/d.md": "5",
  "skip/sub/e.md": "6",
  "top.md": "7",
};

const SCOPES: readonly (readonly [include: readonly string[], exclude: readonly string[]])[] = [
  [[], ["skip/"]],
  [[], ["*.txt", "sub"]],
  [["*.md"], []],
  [["/keep/**"], ["b.txt"]],
  [[], ["*"]],
];

const never = new AbortController().signal;
const leavingOut = (pattern: string) => filterScope(makeFilter([], [pattern]));

export function scopeChecks(check: Check, traits: AllTraits): void {
  check("lists all that is wanted, and nothing that is not there", async (t) => {
    const { source } = await t.opened(FILES);
    for (const [include, exclude] of SCOPES) {
      const scope = filterScope(makeFilter(include, exclude));
      const { paths } = await listAll(source, never, scope);
      t.expect(Object.keys(FILES)).toEqual(t.expect.arrayContaining([...paths]));
      t.expect(paths.filter((path) => scope.wants(path)).toSorted()).toEqual(
        Object.keys(FILES).filter((path) => scope.wants(path)),
      );
    }
  });

  when(traits.holds(".pannierignore"), check)(
    "tells of an ignore file as it is listed, before it goes by it",
    async (t) => {
      const ignoring = { ...FILES, ".pannierignore": "skip/" };
      const { source, store } = await t.opened(ignoring);
      const told: (string | undefined)[] = [];
      const makeScope = (): Scope => {
        let known: Scope | undefined;
        return {
          get filters() {
            return known !== undefined;
          },
          wants: (path) => known?.wants(path) !== false,
          enters: (directory) => known?.enters(directory) !== false,
          async ignoreFile(entry) {
            told.push(entry?.kind === "file" ? `${entry.path} ${entry.fingerprint}` : undefined);
            if (entry !== undefined) known = leavingOut("skip/");
          },
        };
      };
      const wanted = leavingOut("skip/");
      const listed = await listAll(source, never, makeScope());
      t.expect(listed.paths.filter((path) => wanted.wants(path)).toSorted()).toEqual(
        Object.keys(ignoring)
          .filter((path) => wanted.wants(path))
          .toSorted(),
      );
      const { fingerprint } = listed.file(".pannierignore");
      // Where it is not told, the engine finds it in the listing.
      if (told.length > 0) t.expect(told).toEqual([`.pannierignore ${fingerprint}`]);
      await t.change(store, { ".pannierignore": undefined });
      told.length = 0;
      t.expect((await listAll(source, never, makeScope())).paths.toSorted()).toEqual(
        Object.keys(FILES),
      );
      t.expect(told.filter((entry) => entry !== undefined)).toEqual([]);
    },
  );

  check("a directory that may not be read fails the listing only where it is wanted", async (t) => {
    const { source, store } = await t.opened(FILES);
    if (store.deny === undefined) return t.skip("the store has no directory that may not be read");
    await store.deny("skip");
    await t.fails(listAll(source), "auth", "unavailable", "invalid");
    await t.fails(listAll(source, never, leavingOut("*.txt")), "auth", "unavailable", "invalid");
    for (const scope of [leavingOut("/skip/"), filterScope(makeFilter(["/keep/**"], []))]) {
      const { paths } = await listAll(source, never, scope);
      t.expect(paths.filter((path) => scope.wants(path)).toSorted()).toEqual(
        Object.keys(FILES).filter((path) => scope.wants(path)),
      );
    }
  });
}
