/** The licences of all that is in a bundle, in full, as they ask for. */
import { readdir, readFile } from "node:fs/promises";
import { basename, dirname, join } from "node:path";
import { idOf, type Package } from "./packages.ts";

const RULE = "=".repeat(80);

export async function licenceTexts(packages: readonly Package[]): Promise<string> {
  // Many packages of one project have one text.
  const holders = new Map<string, string[]>();
  for (const one of packages) {
    const text = (await licenceFiles(one.directory)) || `Licence: ${one.licence ?? "not stated"}`;
    holders.set(text, [...(holders.get(text) ?? []), idOf(one)]);
  }
  return [...holders]
    .map(([text, ids]) => `${RULE}\n${ids.join("\n")}\n${RULE}\n\n${text}\n`)
    .join("\n");
}

/** Of a package in a repository of several, those of the repository. */
async function licenceFiles(directory: string): Promise<string> {
  const names = (await readdir(directory)).filter((name) =>
    /^(licen[cs]e|copying|notice)([.-].*)?$/i.test(name),
  );
  const texts: string[] = [];
  for (const name of names.toSorted()) {
    const text = await readFile(join(directory, name), "utf8");
    texts.push(text.replaceAll("\r\n", "\n").trim());
  }
  if (texts.length > 0) return texts.join("\n\n");
  const parent = dirname(directory);
  const installed = basename(parent) === "node_modules" || basename(parent).startsWith("@");
  return installed || parent === directory ? "" : licenceFiles(parent);
}
