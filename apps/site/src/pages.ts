/** Which Markdown files of the checkout are pages of the site, and where. They stay where they are, readable on a git host. */
import { existsSync, statSync } from "node:fs";
import { join, posix } from "node:path";
import { ROOT, repositoryPage } from "../../../scripts/repository.ts";

/** Markdown that is no page, as globs of VitePress. */
export const NO_PAGES = [
  ".changeset/**",
  "apps/reference/**",
  "packages/*/{template,test}/**",
  "packages/*/node_modules/**",
];

const PLACES: Readonly<Record<string, string>> = {
  "README.md": "index.md",
  "CHANGELOG.md": "changelog.md",
  "CONTRIBUTING.md": "contributing.md",
  "SECURITY.md": "reporting-vulnerabilities.md",
  "apps/demo/README.md": "demo.md",
  "bench/README.md": "benchmarks.md",
};

/**
 * Where a file of the checkout is on the site.
 *
 * @param file relative to the checkout: `docs/concepts.md`
 * @returns relative to the site: `concepts.md`
 */
export function sitePath(file: string): string {
  return (
    PLACES[file] ??
    file.replace(/^docs\//, "").replace(/^((?:packages|examples)\/[^/]+)\/README\.md$/, "$1.md")
  );
}

/**
 * A link of a page, for the site: to the other page, or to the repository for what is no page.
 *
 * @param from the page's file, relative to the checkout
 * @param link as written in it, relative to that file
 * @throws Error where nothing is at the link
 */
export function siteLink(from: string, link: string): string {
  if (/^(?:[a-z][a-z+.-]*:|#)/.test(link)) return link;
  const [path = "", anchor] = link.split("#");
  const file = posix.join(posix.dirname(from), decodeURI(path)).replace(/\/$/, "");
  const there = join(ROOT, file);
  if (file.startsWith("..") || !existsSync(there))
    throw new Error(`${from}: nothing is at ${link}`);
  const hash = anchor === undefined ? "" : `#${anchor}`;
  if (isPage(file)) return `/${sitePath(file)}${hash}`;
  const kind = statSync(there).isDirectory() ? "tree" : "blob";
  return `${repositoryPage()}/${kind}/main/${file}${hash}`;
}

function isPage(file: string): boolean {
  return file in PLACES || /^(docs\/.*\.md|(packages|examples)\/[^/]+\/README\.md)$/.test(file);
}

/** The anchor of a heading, as hosts of repositories make it. */
export function anchorOf(heading: string): string {
  return heading
    .toLowerCase()
    .replaceAll(/[^\p{L}\p{N} _-]/gu, "")
    .replaceAll(" ", "-");
}
