/** Names that programs trip over. The engine judges which of them may be written; an adapter passes them on as they are. */
import { listAll, readAll } from "../open-source.ts";
import { type AllTraits, type Check, when } from "./trial.ts";

/** Each is tried as the name of a file and of a directory. */
const HOSTILE_NAMES: readonly string[] = [
  " leading space",
  "trailing space ",
  ".leading-dot",
  "trailing-dot.",
  "...",
  "-rf",
  "--help",
  "~",
  "~root",
  "100%",
  "%2F",
  "%2e%2e",
  "%zz",
  "a+b",
  "a#b",
  "a?b",
  "a?b=c&d",
  "a&amp;b",
  "<b>",
  "a;b",
  "a:b",
  "C:",
  "a|b",
  "a*b",
  "[a-z]",
  "{a,b}",
  "$HOME",
  "`id`",
  "it's",
  'say "hi"',
  "back\\slash",
  "..\\up",
  "tab\there",
  "new\nline",
  "\u007fdel",
  "@at",
  "=equals",
  "comma,",
  "CON",
  "desktop.ini",
  "__proto__",
  "constructor",
  "n".repeat(255),
  "ü".repeat(127),
];

/** Of every script some, in both Unicode forms, from right to left, and beyond the basic plane. */
const UNICODE_NAMES: readonly string[] = [
  "caf\u00e9",
  "cafe\u0301",
  "\u1e9b\u0323",
  "日本語",
  "한글",
  "\u1112\u1161\u11ab",
  "עברית",
  "مرحبا",
  "\u202eright-to-left override",
  "😀",
  "👩‍👩‍👧‍👦",
  "🏳️‍🌈 flag",
  "𝔘nicode",
  "\ufeffbyte order mark",
  "zero\u200bwidth",
  "no\u00a0break",
  "ﬁ ligature",
  "İstanbul",
  "straße",
];

/** Of 1,024 bytes, the longest key of object stores, in segments that file systems take. */
const LONG_PATHS: readonly string[] = [
  ["n".repeat(255), "n".repeat(255), "n".repeat(255), "n".repeat(254), "n"],
  ["ü".repeat(127), "ü".repeat(127), "ü".repeat(127), "ü".repeat(127), "üü"],
].map((segments) => segments.join("/"));

export function nameChecks(check: Check, traits: AllTraits): void {
  const sets = { "hostile names": HOSTILE_NAMES, "Unicode names": UNICODE_NAMES };
  for (const [what, names] of Object.entries(sets)) {
    check(`${what} come unchanged, with the right content`, async (t) => {
      const files = new Map<string, string>();
      for (const [index, name] of names.entries()) {
        for (const path of [`names/${name}`, `${name}/file`]) {
          if (traits.holds(path)) files.set(path, `content ${index} of ${path}`);
        }
      }
      const { source } = await t.opened(files);
      const listed = await listAll(source);
      t.expect(listed.paths.toSorted()).toEqual([...files.keys()].toSorted());
      for (const [path, content] of files) {
        t.expect((await readAll(source, listed.file(path))).toString()).toBe(content);
      }
    });
  }

  check("paths of 1,024 bytes come unchanged, with the right content", async (t) => {
    const paths = LONG_PATHS.filter((path) => traits.holds(path));
    const { source } = await t.opened(new Map(paths.map((path) => [path, path])));
    const listed = await listAll(source);
    t.expect(listed.paths.toSorted()).toEqual(paths.toSorted());
    for (const path of paths) {
      t.expect((await readAll(source, listed.file(path))).toString()).toBe(path);
    }
  });

  when(traits.directories, check)("a directory with a hostile name can be opened", async (t) => {
    const names = ["with space", "100%", "%2F", "a#b", "a?b", "a+b", "日本語"].filter((name) =>
      traits.holds(`${name}/file`),
    );
    const store = await t.store(new Map(names.map((name) => [`${name}/file`, name])));
    for (const name of names) {
      const { source } = await t.open(store.source({ directory: name }));
      const listed = await listAll(source);
      t.expect(listed.paths).toEqual(["file"]);
      t.expect((await readAll(source, listed.file("file"))).toString()).toBe(name);
    }
  });
}
