import { globSync } from "node:fs";
import { expect, test } from "vitest";
import { ROOT } from "../../scripts/repository.ts";
import { NAVIGATION, SIDEBAR } from "../../apps/site/src/navigation.ts";
import { anchorOf, siteLink, sitePath } from "../../apps/site/src/pages.ts";

const PAGES = globSync(
  ["*.md", "docs/**/*.md", "{packages,examples}/*/README.md", "apps/demo/README.md", "bench/*.md"],
  { cwd: ROOT },
);

/** All links of the sides. A page may be on two of them. */
const linked = [
  ...new Set(
    Object.values(SIDEBAR)
      .flat()
      .flatMap(({ items = [] }) => items.map(({ link }) => link)),
  ),
];

test("every page is on a side, and nothing else is", () => {
  const places = PAGES.map((file) => `/${sitePath(file)}`.replace(/(index)?\.md$/, ""));
  expect(linked.toSorted()).toEqual(places.toSorted());
});

test("the bar leads to pages of the side, and to the API reference", () => {
  for (const { link } of NAVIGATION as { link: string }[])
    expect([...linked, "/api/index.html"]).toContain(link);
});

test.each([
  ["docs/concepts.md", "adapters/git.md#options", "/adapters/git.md#options"],
  ["docs/adapters/git.md", "../concepts.md", "/concepts.md"],
  ["packages/core/README.md", "../../README.md#install", "/index.md#install"],
  ["README.md", "packages/core/README.md", "/packages/core.md"],
  ["README.md", "#install", "#install"],
  ["README.md", "https://nodejs.org/", "https://nodejs.org/"],
])("on %s, %s leads to %s", (from, link, expected) => {
  expect(siteLink(from, link)).toBe(expected);
});

test("what is no page is linked in the repository", () => {
  expect(siteLink("docs/design.md", "../packages/core/src/index.ts")).toMatch(
    /^https:\/\/.+\/blob\/main\/packages\/core\/src\/index\.ts$/,
  );
  expect(siteLink("README.md", "examples")).toMatch(/^https:\/\/.+\/tree\/main\/examples$/);
});

test.each(["nowhere.md", "../../../outside.md"])("a link to %s is refused", (link) => {
  expect(() => siteLink("docs/concepts.md", link)).toThrow(
    `docs/concepts.md: nothing is at ${link}`,
  );
});

test.each([
  ["What `pannier run` reads", "what-pannier-run-reads"],
  ["1. Find & fix", "1-find--fix"],
  ["`mounts[].hooks`", "mountshooks"],
])("the anchor of %s is that of hosts of repositories: %s", (heading, anchor) => {
  expect(anchorOf(heading)).toBe(anchor);
});
