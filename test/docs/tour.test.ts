/** What the README has people type does what it says. */
import { execFile } from "node:child_process";
import { createHash } from "node:crypto";
import { once } from "node:events";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import {
  chmodSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { promisify } from "node:util";
import { afterAll, beforeAll, expect, test } from "vitest";
import { gitVersion } from "../support/git-server.ts";
import { blocks, page, ROOT } from "./pages.ts";
import { freePort } from "../support/free-port.ts";
import { COMPILE_CACHE, FROM_SOURCES } from "../support/from-sources.ts";

const run = promisify(execFile);
const readme = page("README.md").text;
let folder: string;

/** A directory as the tour makes one, with the program on the path and the packages to import. */
beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), "pannier-tour-"));
  const node = `"${process.execPath}" ${FROM_SOURCES.join(" ")}`;
  for (const [name, command] of [
    ["pannier", `${node} "${join(ROOT, "packages/cli/src/bin.ts")}"`],
    ["node", node],
  ] as const) {
    mkdirSync(join(folder, "bin"), { recursive: true });
    writeFileSync(join(folder, "bin", name), `#!/bin/sh\nexec ${command} "$@"\n`);
    chmodSync(join(folder, "bin", name), 0o755);
  }
});

afterAll(() => rmSync(folder, { recursive: true, force: true }));

function workDirectory(): string {
  const work = mkdtempSync(join(folder, "work-"));
  symlinkSync(join(ROOT, "node_modules"), join(work, "node_modules"));
  return work;
}

async function bash(script: string, cwd = workDirectory()): Promise<string> {
  const { stdout } = await run("bash", ["-euo", "pipefail", "-c", script], {
    cwd,
    env: {
      ...COMPILE_CACHE,
      PATH: `${join(folder, "bin")}:${process.env["PATH"]}`,
      HOME: folder,
      PORT: String(await freePort()),
      NO_PROXY: "127.0.0.1",
    },
  });
  return stdout;
}

test.concurrent("the tour", async () => {
  const said = await bash(blocks(readme, "sh tour").join("\n"));
  const order = [
    "published",
    "<h1>Hello</h1>",
    "0 added, 1 changed, 0 deleted",
    "A        12 B  news.html",
    "D        21 B  style.css",
    "1 added, 0 changed, 1 deleted",
    "how        swap, at current",
    "kept",
    "it stays until the sources change",
    "unchanged",
    "changed  index.html",
    "exit code 6",
    "repaired",
    "from-archive",
    "v1",
    "layered",
    "news.html\nstyle.css\n",
  ];
  let rest = said;
  for (const text of order) {
    expect(rest).toContain(text);
    rest = rest.slice(rest.indexOf(text) + text.length);
  }
});

test.skipIf(gitVersion === undefined)(
  "the tour of git",
  { concurrent: true, timeout: 60_000, meta: { skipReason: "git is not installed" } },
  async () => {
    const said = await bash(blocks(readme, "sh tour git").join("\n"));
    expect(said).toMatch(/published [0-9a-f]{12} at .*\n.*\nunchanged [0-9a-f]{12}\n.*\n✓ resolve/);
  },
);

test.concurrent("the programs that embed it", async () => {
  const made = workDirectory();
  for (const name of ["site", "brand"]) {
    mkdirSync(join(made, name), { recursive: true });
    writeFileSync(join(made, name, "name.txt"), name);
  }
  const programs = blocks(readme, "js embed");
  expect(programs).toHaveLength(2);
  for (const [index, program] of programs.entries()) {
    writeFileSync(join(made, `embed-${index}.mjs`), program);
    expect(await bash(`node embed-${index}.mjs`, made)).toMatch(/^published [0-9a-f]{40}/);
  }
  // A service that starts again finds nothing new, and has to come to its content all the same.
  expect(await bash("node embed-1.mjs", made)).toMatch(/^unchanged [0-9a-f]{40} /);
  expect(readFileSync(join(made, "embedded/current/theme/brand/name.txt"), "utf8")).toBe("brand");
  expect(readFileSync(join(made, "followed/current/name.txt"), "utf8")).toBe("site");
});

function digest(text: string): string {
  return createHash("sha256").update(text).digest("hex");
}

test.concurrent("the adapter that its page begins with", async () => {
  const files = { "index.html": "<h1>Hello</h1>", "img/größe 1.svg": "<svg/>" };
  const server = createServer((request, answer) => {
    const path = decodeURIComponent(request.url ?? "");
    if (path === "/top/version") answer.end("7");
    else if (path === "/top/files")
      answer.end(
        JSON.stringify(
          Object.entries(files).map(([name, text]) => ({
            path: name,
            size: Buffer.byteLength(text),
            sha256: digest(text),
          })),
        ),
      );
    else {
      const text = files[path.replace("/top/content/", "") as keyof typeof files];
      const pinned = request.headers["if-match"] === `"${digest(text)}"`;
      answer.writeHead(pinned ? 200 : 412).end(pinned ? text : "");
    }
  }).listen(0, "127.0.0.1");
  try {
    await once(server, "listening");
    const { port } = server.address() as AddressInfo;
    const work = workDirectory();
    const [adapter = ""] = blocks(page("docs/writing-an-adapter.md").text, "js shelf");
    writeFileSync(join(work, "shelf-adapter.js"), adapter);
    const command = `pannier sync "shelf://127.0.0.1:${port}/top?secure=false" ./target --adapter ./shelf-adapter.js`;
    expect(await bash(`${command} && ${command}`, work)).toMatch(/^published [^]*^unchanged /m);
    for (const [name, text] of Object.entries(files))
      expect(readFileSync(join(work, "target/current", name), "utf8")).toBe(text);
  } finally {
    server.close();
  }
});
