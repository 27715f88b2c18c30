/**
 * `version`: what is unreleased in CHANGELOG.md becomes the version that changesets has just given the packages. The Helm chart
 * gets it as well.
 * `check`: whether a release may go out.
 */
import { execFileSync } from "node:child_process";
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { pathToFileURL } from "node:url";
import { readManifest, repositoryPage, ROOT } from "./repository.ts";

const CHANGELOG = join(ROOT, "CHANGELOG.md");
const CHART = join(ROOT, "deploy/helm/pannier/Chart.yaml");

/** @throws Error where nothing is unreleased */
export function releasedChangelog(text: string, version: string, date: string): string {
  const heading = "## [Unreleased]\n";
  const [before, after = ""] = text.split(heading);
  if (after.trim() === "" || after.trim().startsWith("## "))
    throw new Error(`CHANGELOG.md has nothing below "${heading.trim()}"`);
  return `${before}${heading}\n## [${version}] - ${date}\n${after}`;
}

/** A Chart.yaml with another version, of itself and of what it installs. */
export function versionedChart(text: string, version: string): string {
  return text.replaceAll(/^(version|appVersion): .*$/gm, `$1: ${version}`);
}

/** Why a release may not go out; nothing where it may. */
export function* reasonsAgainst(
  page: string,
  changelog: string,
  version: string,
  changed: string,
): Generator<string> {
  if (/^https:\/\/[^/]*\bexample\.com\//.test(page))
    yield `the project's home is not known: "repository" of package.json is ${page}. Put the real one there and into packages/*/package.json`;
  if (!changelog.includes(`## [${version}]`))
    yield `CHANGELOG.md has no heading for ${version}: run npm run version`;
  if (changed !== "") yield `the checkout differs from its commit:\n${changed}`;
}

if (import.meta.url === pathToFileURL(process.argv[1] ?? "").href) {
  const { version } = readManifest("packages/core");
  const changelog = readFileSync(CHANGELOG, "utf8");
  if (process.argv[2] === "version") {
    const date = new Date().toISOString().slice(0, 10);
    writeFileSync(CHANGELOG, releasedChangelog(changelog, version, date));
    writeFileSync(CHART, versionedChart(readFileSync(CHART, "utf8"), version));
  } else {
    const changed = execFileSync("git", ["status", "--porcelain"], { cwd: ROOT, encoding: "utf8" });
    const reasons = [...reasonsAgainst(repositoryPage(), changelog, version, changed.trim())];
    for (const reason of reasons) process.stderr.write(`${reason}\n`);
    process.exitCode = reasons.length > 0 ? 1 : 0;
  }
}
