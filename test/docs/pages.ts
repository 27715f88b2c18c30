/** The project's pages, as the tests of this folder read them. */
import { readdirSync, readFileSync } from "node:fs";
import { join, relative } from "node:path";
import { fileURLToPath } from "node:url";

export const ROOT = fileURLToPath(new URL("../..", import.meta.url));

export interface Page {
  /** Relative to the project. */
  readonly name: string;
  readonly text: string;
}

/** Every Markdown file that is part of the project. */
export function pages(): Page[] {
  return markdownIn(ROOT).map((path) => ({
    name: relative(ROOT, path),
    text: readFileSync(path, "utf8"),
  }));
}

export function page(name: string): Page {
  return { name, text: readFileSync(join(ROOT, name), "utf8") };
}

function markdownIn(directory: string): string[] {
  return readdirSync(directory, { withFileTypes: true }).flatMap((entry) => {
    const path = join(directory, entry.name);
    if (entry.isDirectory())
      return entry.name.startsWith(".") || ["node_modules", "dist", "coverage"].includes(entry.name)
        ? []
        : markdownIn(path);
    return entry.name.endsWith(".md") ? [path] : [];
  });
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

/** The text without its fenced blocks. */
export function prose(text: string): string {
  return text.replaceAll(/^( *)```.*\n[^]*?^\1```$/gm, "");
}

/** The section below a heading, down to the next heading of its level or above. */
export function section(text: string, heading: string): string {
  const start = text.indexOf(`\n${heading}\n`);
  if (start === -1) throw new Error(`there is no heading "${heading}"`);
  const level = /^#+/.exec(heading)?.[0].length ?? 1;
  const rest = text.slice(start + heading.length + 2);
  const end = rest.search(new RegExp(`^#{1,${level}} `, "m"));
  return end === -1 ? rest : rest.slice(0, end);
}

/** The rows of all tables, without headings, each with its cells as text; those whose first cell begins with a name in backquotes. */
export function tableRows(text: string): string[][] {
  return Array.from(text.matchAll(/^\| *(`[^`]+`.*)\|$/gm), ([, row = ""]) =>
    row.split("|").map((cell) => /^`([^`]*)`/.exec(cell.trim())?.[1] ?? cell.trim()),
  );
}
