import { execFileSync, spawnSync } from "node:child_process";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import * as fc from "fast-check";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { ignoreFileFilter, makeFilter } from "../src/snapshot/filter.ts";

function kept(include: string[], exclude: string[], paths: string[]): string[] {
  return paths.filter((path) => makeFilter(include, exclude)?.wants(path) !== false);
}

test("without patterns there is no filter", () => {
  expect(makeFilter([], [])).toBeUndefined();
});

describe("makeFilter", () => {
  const paths = ["a.html", "a.HTML", "docs/a.html", "docs/api/b.md", "src/docs/c.ts", "docs2/d"];

  test.each<[string, string[], string[], string[]]>([
    [
      "a name matches at any depth",
      ["docs"],
      [],
      ["docs/a.html", "docs/api/b.md", "src/docs/c.ts"],
    ],
    ["a leading slash binds to the root", ["/docs"], [], ["docs/a.html", "docs/api/b.md"]],
    ["so does a slash in the middle", ["docs/api"], [], ["docs/api/b.md"]],
    ["a star stays within a segment", ["docs/*.html"], [], ["docs/a.html"]],
    ["two stars do not", ["docs/**/*.md"], [], ["docs/api/b.md"]],
    ["case counts", ["*.html"], [], ["a.html", "docs/a.html"]],
    ["several are alternatives", ["/a.HTML", "*.ts"], [], ["a.HTML", "src/docs/c.ts"]],
    ["exclude wins", ["docs"], ["*.html"], ["docs/api/b.md", "src/docs/c.ts"]],
    ["exclude alone keeps the rest", [], ["docs", "a.*"], ["docs2/d"]],
    [
      "a later negation takes back",
      [],
      ["*.html", "!/a.html"],
      ["a.html", "a.HTML", "docs/api/b.md", "src/docs/c.ts", "docs2/d"],
    ],
    ["a trailing slash means directories", ["docs2/d/"], [], []],
  ])("%s", (_, include, exclude, expected) => {
    expect(kept(include, exclude, paths)).toEqual(expected);
  });

  test("answers the same beyond the life of one matcher", () => {
    const filter = makeFilter([], ["*.tmp"]);
    for (let i = 0; i < 20_010; i++) filter?.wants(`d/${i}`);
    expect([filter?.wants("d/a.tmp"), filter?.wants("d/a")]).toEqual([false, true]);
  });
});

describe("ignoreFileFilter", () => {
  // From gitignore(5): its rules, one by one.
  test.each<[string, string, string[], string[]]>([
    ["blank lines and comments say nothing", "\n# a\n\n", ["a", "# a"], []],
    ["\\# is a literal #", "\\#a", ["a"], ["#a"]],
    ["trailing spaces do not count unless escaped", "a   \nb\\ ", ["b"], ["a", "b "]],
    ["! takes back", "*.log\n!keep.log", ["keep.log"], ["a.log"]],
    ["but not below an excluded directory", "logs/\n!logs/keep", [], ["logs/keep"]],
    [
      "unless the directory itself is not excluded",
      "logs/*\n!logs/keep",
      ["logs/keep"],
      ["logs/a"],
    ],
    ["\\! is a literal !", "\\!a", ["a"], ["!a"]],
    ["? is one character, never a slash", "a?c", ["ac", "a/c"], ["abc"]],
    ["ranges", "[a-c].txt", ["d.txt"], ["a.txt", "c.txt"]],
    ["leading **/ is any depth", "**/x/y", ["x/z"], ["x/y", "a/b/x/y"]],
    ["trailing /** is all inside", "x/**", ["x"], ["x/a", "x/a/b"]],
    ["/**/ is any number of directories", "a/**/b", ["ab"], ["a/b", "a/x/b", "a/x/y/b"]],
    ["lines may end in CR LF", "a\r\nb\r\n", ["c"], ["a", "b"]],
    ["the file may start with a byte order mark", "\ufeffa", ["b"], ["a"]],
  ])("%s", (_, text, wanted, unwanted) => {
    const filter = ignoreFileFilter(text);
    expect(wanted.filter((path) => !filter.wants(path))).toEqual([]);
    expect(unwanted.filter((path) => filter.wants(path))).toEqual([]);
  });
});

describe("which directories are entered", () => {
  const directories = ["img", "img/a", "docs", "docs/api", "docs/api/v1", "other", "lost+found"];

  test.each<[string, string[], string[], string[]]>([
    ["all, where nothing is said of them", [], ["*.tmp"], directories],
    [
      "not one that is excluded, nor any below",
      [],
      ["docs/"],
      ["img", "img/a", "other", "lost+found"],
    ],
    ["not one of which all is excluded", [], ["/lost+found/**"], directories.slice(0, -1)],
    [
      "the same one level down",
      [],
      ["docs/api/*"],
      ["img", "img/a", "docs", "other", "lost+found"],
    ],
    ["one that a ! may bring something back of", [], ["docs/*", "!docs/api"], directories],
    ["an include at any depth may match anywhere", ["*.html"], [], directories],
    ["one from the root on, only below", ["/img/"], [], ["img", "img/a"]],
    ["one with a slash leads there", ["docs/api/**"], [], ["docs", "docs/api", "docs/api/v1"]],
    ["stars on the way", ["d*/a?i/*.md"], [], ["docs", "docs/api"]],
    [
      "ranges on the way are looked into",
      ["[d]ocs/api/x"],
      [],
      ["img", "docs", "docs/api", "other", "lost+found"],
    ],
    ["two stars on the way", ["docs/**/x.md"], [], ["docs", "docs/api", "docs/api/v1"]],
    ["a file of the root", ["/a.txt"], [], []],
    ["blanks behind the pattern do not count", ["api/ ", "/other/  "], [], directories],
    ["exclude wins", ["docs/**"], ["docs/api/"], ["docs"]],
  ])("%s", (_, include, exclude, expected) => {
    const filter = makeFilter(include, exclude);
    expect(directories.filter((one) => filter?.enters(one))).toEqual(expected);
  });

  test("never leaves out one with something wanted in it", () => {
    const name = fc.constantFrom("a", "b", "ab", "a.c", "a ", " ");
    const path = fc.array(name, { minLength: 2, maxLength: 4 }).map((parts) => parts.join("/"));
    const globs = ["a", "b", "*", "a*", "*.c", "?", "[ab]", "**", "***", "a.c", "a ", " "];
    const glob = fc.constantFrom(...globs);
    const patterns = fc.array(
      fc
        .tuple(
          fc.constantFrom("", "", "!"),
          fc.constantFrom("", "/"),
          fc.array(glob, { minLength: 1, maxLength: 4 }),
          fc.constantFrom("", "/", " ", "/ "),
        )
        .map(([not, root, parts, end]) => not + root + parts.join("/") + end),
      { maxLength: 3 },
    );
    fc.assert(
      fc.property(patterns, patterns, path, (include, exclude, one) => {
        const filter = makeFilter(include, exclude);
        if (filter?.wants(one) === false) return;
        const parts = one.split("/");
        for (let depth = 1; depth < parts.length; depth++) {
          expect(filter?.enters(parts.slice(0, depth).join("/"))).not.toBe(false);
        }
      }),
      { numRuns: 3000 },
    );
  });
});

const git = spawnSync("git", ["--version"]).status === 0;

describe.skipIf(!git)("beside git itself", { meta: { skipReason: "needs git" } }, () => {
  let repository: string;
  beforeAll(() => {
    repository = mkdtempSync(join(tmpdir(), "pannier-filter-"));
    execFileSync("git", ["init", "-q", repository]);
  });
  afterAll(() => rmSync(repository, { recursive: true }));

  function ignoredByGit(patterns: string, paths: string[]): string[] {
    writeFileSync(join(repository, ".gitignore"), patterns);
    const { stdout } = spawnSync("git", ["check-ignore", "--no-index", "-z", "--stdin"], {
      cwd: repository,
      input: paths.map((path) => `${path}\0`).join(""),
      encoding: "utf8",
    });
    return stdout.split("\0").filter((path) => path !== "");
  }

  test("decides as git does", () => {
    const name = fc.constantFrom("a", "b", "A", "ab", "a.c", "b.c");
    const path = fc.array(name, { minLength: 1, maxLength: 3 }).map((parts) => parts.join("/"));
    const glob = fc.constantFrom("a", "b", "*", "a*", "*.c", "?", "[ab]", "**", "a.c");
    const pattern = fc
      .tuple(
        fc.constantFrom("", "!"),
        fc.constantFrom("", "/"),
        fc.array(glob, { minLength: 1, maxLength: 3 }),
        fc.constantFrom("", "/"),
      )
      .map(([not, root, globs, end]) => not + root + globs.join("/") + end);
    fc.assert(
      fc.property(
        fc.array(pattern, { minLength: 1, maxLength: 4 }),
        fc.uniqueArray(path, { minLength: 10, maxLength: 30 }),
        (patterns, paths) => {
          const text = patterns.join("\n");
          const filter = ignoreFileFilter(text);
          expect(paths.filter((one) => !filter.wants(one))).toEqual(ignoredByGit(text, paths));
        },
      ),
      { numRuns: 150 },
    );
  });
});
