/** Stores for the conformance suite: the ways in which a web server can offer a tree. */
import { createHash } from "node:crypto";
import type { Harness, Store, StoreFile, StoreFiles } from "@pannier/adapter-kit";
import { makeTar, type TarMember } from "./archives.ts";
import { openSite, type Page, type Site } from "./site.ts";

const PASSWORD = "s3cret of the test";
const encode = (path: string) => path.split("/").map(encodeURIComponent).join("/");

interface Kept {
  readonly file: StoreFile;
  readonly modified: Date;
}
type Tree = ReadonlyMap<string, Kept>;

/** Pages below a store's own root, by encoded path from there. */
type Render = (tree: Tree) => Promise<Map<string, Page>> | Map<string, Page>;

/** @param address what to open below the store's root, for one of its directories */
export function makeStores(
  render: Render,
  address: (directory: string | undefined) => { path: string; options?: Record<string, unknown> },
): Pick<Harness, "create" | "failures" | "secrets"> & { close(): Promise<void> } {
  let site: Promise<Site> | undefined;
  let stores = 0;
  // Times that nobody takes for "just now", a minute apart.
  let clock = Date.UTC(2025, 1, 3);

  async function create(files: StoreFiles): Promise<Store> {
    const { pages, port } = await (site ??= openSite());
    const root = `/store-${++stores}/`;
    const tree = new Map<string, Kept>();
    const change = async (changes: StoreFiles) => {
      clock += 60_000;
      for (const [path, file] of changes) {
        tree.delete(path);
        if (file !== undefined) tree.set(path, { file, modified: new Date(clock) });
      }
      const made = await render(tree);
      for (const path of pages.keys()) if (path.startsWith(root)) pages.delete(path);
      for (const [path, page] of made) pages.set(root + path, page);
    };
    await change(files);
    return {
      source({ directory, port: other }) {
        const { path, options } = address(directory);
        return { url: `http://127.0.0.1:${other ?? port}${root}${path}`, options };
      },
      change,
      ...(render === renderIndex && {
        deny: async (directory: string) => {
          pages.set(`${root}${encode(directory)}/`, (_, response) => {
            response.writeHead(403).end();
          });
        },
      }),
      server: { host: "127.0.0.1", port },
      close: () => change(new Map([...tree.keys()].map((path) => [path, undefined]))),
    };
  }

  return {
    create,
    secrets: [PASSWORD],
    failures: {
      async auth(store) {
        const { pages } = await (site as Promise<Site>);
        const { url, options } = store.source({});
        const found = new URL(url);
        found.pathname = "/locked" + found.pathname;
        for (const path of ["", "manifest.json", "tree.tar.gz"]) {
          pages.set(new URL(path, found).pathname, (_, response) => response.writeHead(401).end());
        }
        found.username = "me";
        found.password = PASSWORD;
        return { url: found.href, options };
      },
      "not-found"(store) {
        const { url, options } = store.source({});
        return { url: url.replace("/store-", "/no-store-"), options };
      },
    },
    async close() {
      await (await site)?.close();
    },
  };
}

/** Files with a JSON manifest. */
export function renderManifest(tree: Tree): Map<string, Page> {
  const pages = new Map<string, Page>();
  const files: unknown[] = [];
  for (const [path, { file, modified }] of tree) {
    if (file.kind !== "file") continue;
    const { content, mode = 0o644 } = file;
    const sha256 = createHash("sha256").update(content).digest("hex");
    const size = content.byteLength;
    files.push({ path, size, sha256, mtime: modified.toISOString(), mode: `0${mode.toString(8)}` });
    pages.set(encode(path), { body: content, modified });
  }
  pages.set("manifest.json", { body: JSON.stringify({ files }) });
  return pages;
}

/** Files with index pages as nginx makes them. */
export function renderIndex(tree: Tree): Map<string, Page> {
  const pages = new Map<string, Page>();
  const rows = new Map<string, Map<string, string>>([["", new Map()]]);
  const addRow = (directory: string, name: string, rest: string) => {
    const row = `<a href="${encodeURIComponent(name.replace(/\/$/, ""))}${name.endsWith("/") ? "/" : ""}">…</a>  ${rest}\n`;
    rows.set(directory, (rows.get(directory) ?? new Map<string, string>()).set(name, row));
  };
  for (const [path, { file, modified }] of tree) {
    if (file.kind !== "file") continue;
    const segments = path.split("/");
    const name = segments.pop() as string;
    for (let i = 0; i < segments.length; i++) {
      const parent = segments.slice(0, i).map((each) => `${each}/`);
      addRow(parent.join(""), `${segments[i]}/`, "03-Feb-2025 00:00  -");
    }
    const [, day, month, year, clock] =
      /(\d\d) (\w{3}) (\d{4}) (\d\d:\d\d)/.exec(modified.toUTCString()) ?? [];
    const directory = segments.map((each) => `${each}/`).join("");
    addRow(directory, name, `${day}-${month}-${year} ${clock}  ${file.content.byteLength}`);
    pages.set(encode(path), { body: file.content, modified });
  }
  for (const [directory, lines] of rows) {
    const title = "<title>Index of /</title>";
    const body = `<html>${title}<pre><a href="../">../</a>\n${[...lines.values()].join("")}</pre></html>`;
    pages.set(encode(directory), { body, type: "text/html; charset=utf-8" });
  }
  return pages;
}

/** All in one archive. */
export async function renderArchive(
  tree: Tree,
  compress: (tar: Buffer) => Buffer,
): Promise<Map<string, Page>> {
  const members = [...tree].map(([name, { file, modified }]): TarMember => {
    const common = { name, mtime: modified };
    return file.kind === "symlink"
      ? { ...common, type: "symlink", linkname: file.target }
      : { ...common, mode: file.mode ?? 0o644, content: file.content };
  });
  return new Map([["tree.tar.gz", { body: compress(await makeTar(members)) }]]);
}
