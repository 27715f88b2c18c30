/** The project's pages, as the tests of this folder read them. */
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";

export const ROOT = fileURLToPath(new URL("../..", import.meta.url));

interface Page {
  /** Relative to the project. */
  readonly name: string;
  readonly text: string;
}

export function page(name: string): Page {
  return { name, text: readFileSync(join(ROOT, name), "utf8") };
}

/** The content of the fenced blocks whose info string is exactly this: `sh tour`. */
export function blocks(text: string, info: string): string[] {
  return Array.from(
    text.matchAll(/^( *)```(.*)\n([^]*?)^\1```$/gm),
    ([, , found = "", content = ""]) => ({ found: found.trim(), content }),
  )
    .filter(({ found }) => found === info)
    .map(({ content }) => content);
}
