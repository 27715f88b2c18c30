/** After the build: adds the API reference, and checks each link and anchor, and that pages load nothing from elsewhere. */
import { cpSync, existsSync, globSync, readFileSync } from "node:fs";
import { dirname, join, relative } from "node:path";
import { fileURLToPath } from "node:url";

const SITE = fileURLToPath(new URL("../dist", import.meta.url));
const REFERENCE = fileURLToPath(new URL("../../reference/dist", import.meta.url));

cpSync(REFERENCE, join(SITE, "api"), { recursive: true });

const files = globSync("**/*.{html,css}", { cwd: SITE }).toSorted();
const texts = new Map(files.map((file) => [file, readFileSync(join(SITE, file), "utf8")]));
const anchors = new Map(
  Array.from(texts, ([file, text]) => [file, new Set(attributes(text, "id"))]),
);

const problems = files.flatMap((file) => [...problemsOf(file, texts.get(file) ?? "")]);
for (const problem of problems) process.stderr.write(`${problem}\n`);
process.stdout.write(`${files.length} files, ${problems.length} problems\n`);
process.exitCode = problems.length > 0 ? 1 : 0;

function* problemsOf(file: string, text: string): Generator<string> {
  const loaded = [
    ...Array.from(text.matchAll(/<(?:script|img|source|iframe)\b[^>]*/g), ([tag]) => [
      ...attributes(tag, "src"),
      ...attributes(tag, "srcset"),
    ]),
    ...Array.from(text.matchAll(/<link\b[^>]*/g), ([tag]) => attributes(tag, "href")),
    ...Array.from(text.matchAll(/(?:url\(|@import )["']?([^"')]+)/g), ([, url = ""]) => [url]),
  ].flat();
  for (const url of loaded) {
    if (/^(?:[a-z]+:)?\/\//.test(url)) yield `${file}: loads ${url} from elsewhere`;
  }
  if (!file.endsWith(".html")) return;
  for (const link of new Set([...attributes(text, "href"), ...loaded])) {
    if (/^(?:[a-z]+:|\/\/)/.test(link)) continue;
    const [path = "", anchor = ""] = decodeURI(link.replaceAll("&amp;", "&")).split("#");
    const there = path === "" ? file : target(file, path.split("?")[0] ?? "");
    if (!existsSync(join(SITE, there))) yield `${file}: nothing is at ${link}`;
    else if (anchor !== "" && anchors.get(there)?.has(anchor) === false)
      yield `${file}: ${there} has no #${anchor}`;
  }
}

function target(from: string, path: string): string {
  const file = path.startsWith("/")
    ? path.slice(1)
    : relative(SITE, join(SITE, dirname(from), path));
  return file === "" || file.endsWith("/") ? `${file}index.html` : file;
}

function attributes(text: string, name: string): string[] {
  return Array.from(
    text.matchAll(new RegExp(`\\s${name}="([^"]*)"`, "g")),
    ([, value = ""]) => value,
  );
}
