/**
 * Before and after `npm pack` or `npm publish` of a package, in its directory: adds the licence and, to the program, the
 * commit; makes README's links lead to the repository where what they name is not packed.
 */
import { execFileSync } from "node:child_process";
import {
  copyFileSync,
  existsSync,
  mkdirSync,
  readFileSync,
  renameSync,
  rmSync,
  writeFileSync,
} from "node:fs";
import { join, posix, relative } from "node:path";
import { pathToFileURL } from "node:url";
import { readManifest, repositoryPage, ROOT } from "./repository.ts";

/** README.md as it is in the checkout, while it is packed. */
const ORIGINAL = ".turbo/README.md";

/** @param directory of the package, relative to the checkout */
export function packedReadme(text: string, directory: string, version: string): string {
  const base = `${repositoryPage()}/blob/v${version}`;
  return text.replaceAll(/\]\((?![a-z]+:|#)([^)\s]+)\)/g, (link, to: string) => {
    const path = posix.join(directory, to);
    return path.startsWith(`${directory}/src/`) ? link : `](${base}/${path})`;
  });
}

function before(directory: string): void {
  after();
  // Before the checkout is changed.
  if (existsSync("bin")) writeFileSync("dist/commit", commit());
  copyFileSync(join(ROOT, "LICENSE"), "LICENSE");
  mkdirSync(".turbo", { recursive: true });
  renameSync("README.md", ORIGINAL);
  const { version } = readManifest(directory);
  writeFileSync("README.md", packedReadme(readFileSync(ORIGINAL, "utf8"), directory, version));
}

/** Also after one that was interrupted. */
function after(): void {
  if (existsSync(ORIGINAL)) renameSync(ORIGINAL, "README.md");
  for (const name of ["LICENSE", "dist/commit"]) rmSync(name, { force: true });
}

/** Twelve digits, and `-dirty` where something differs from it. */
function commit(): string {
  const args = ["describe", "--always", "--dirty", "--exclude=*", "--abbrev=12"];
  return execFileSync("git", args, { encoding: "utf8" }).trim();
}

if (import.meta.url === pathToFileURL(process.argv[1] ?? "").href) {
  if (process.argv[2] === "before") before(relative(ROOT, process.cwd()));
  else after();
}
