/** Part of `npm run docs:pictures`: takes the pictures of the dashboard, of a sidecar with a mount in each of three states. It needs chromium. */
import { execFileSync, spawn } from "node:child_process";
import { once } from "node:events";
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { createServer, type Server } from "node:http";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout } from "node:timers/promises";
import { chromium } from "playwright-core";
import { FROM_SOURCES } from "../../test/support/from-sources.ts";
import { freePort } from "../../test/support/free-port.ts";
import { ROOT } from "../repository.ts";

const TOKEN = "let-me-in";
const GIT_ENV = {
  ...process.env,
  GIT_AUTHOR_NAME: "You",
  GIT_AUTHOR_EMAIL: "you@example.com",
  GIT_COMMITTER_NAME: "You",
  GIT_COMMITTER_EMAIL: "you@example.com",
};

/** Wants a password for everything. */
async function startServer(): Promise<Server> {
  const server = createServer((_, response) => {
    response.writeHead(401, { "www-authenticate": "Basic" }).end();
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  return server;
}

function commit(repository: string, files: Readonly<Record<string, string>>): void {
  for (const [name, text] of Object.entries(files)) writeFileSync(join(repository, name), text);
  execFileSync("git", ["-C", repository, "add", "."]);
  execFileSync("git", ["-C", repository, "commit", "-qm", "Change"], { env: GIT_ENV });
}

async function run(folder: string): Promise<void> {
  const server = await startServer();
  const base = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  const [website, theme] = [join(folder, "git/website"), join(folder, "theme")];
  mkdirSync(website, { recursive: true });
  mkdirSync(theme);
  execFileSync("git", ["init", "-q", "-b", "main", website]);
  commit(website, { "index.html": "<h1>Hello</h1>\n", "style.css": "body { color: navy }\n" });
  writeFileSync(join(theme, "colors.css"), ":root { --brand: teal }\n");
  const mounts = [
    { target: "content/website", sources: [{ url: `git+file://${website}?ref=main` }] },
    { target: "content/theme", sources: [{ url: theme }] },
    { target: "content/policies", sources: [{ url: `${base}/policies.zip` }] },
  ];
  writeFileSync(join(folder, "pannier.yaml"), JSON.stringify({ mounts }));
  writeFileSync(join(folder, "token"), TOKEN);
  const port = await freePort();
  const sidecar = spawn(
    process.execPath,
    [
      ...FROM_SOURCES,
      join(ROOT, "packages/cli/src/bin.ts"),
      ..."run --config pannier.yaml --period 1h --http".split(" "),
      `127.0.0.1:${port}`,
    ],
    {
      cwd: folder,
      env: {
        PATH: process.env["PATH"],
        HOME: folder,
        PANNIER_TRIGGER_TOKEN_FILE: join(folder, "token"),
      },
      stdio: ["ignore", "ignore", "inherit"],
    },
  );
  try {
    await takePictures(`http://127.0.0.1:${port}`, website, theme);
  } finally {
    sidecar.kill();
    await once(sidecar, "exit");
    server.close();
  }
}

async function takePictures(url: string, website: string, theme: string): Promise<void> {
  const post = async (path: string) => {
    const headers = { authorization: `Bearer ${TOKEN}` };
    const answer = await fetch(new URL(path, url), { method: "POST", headers });
    if (!answer.ok) throw new Error(`${path}: ${answer.status} ${await answer.text()}`);
  };
  const browser = await chromium.launch({
    executablePath: "/usr/bin/chromium",
    args: ["--headless", "--no-sandbox", "--disable-gpu"],
  });
  try {
    const page = await browser.newPage({ viewport: { width: 1000, height: 700 } });
    const card = (name: string) => page.getByRole("article", { name });
    const listening = () =>
      fetch(url).then(
        () => true,
        () => false,
      );
    while (!(await listening())) await setTimeout(100);
    await page.goto(url);
    await card("website").getByText("Up to date").waitFor();
    commit(website, { "index.html": "<h1>Hello, world</h1>\n", "about.html": "<h1>About</h1>\n" });
    await post("/sync/website?wait=1");
    writeFileSync(join(theme, "colors.css"), ":root { --brand: orange }\n");
    await post("/sync/theme?wait=1");
    await post("/rollback/theme");
    await card("theme").getByText("Rolled back until the source changes").waitFor();
    await card("policies").getByText("The last sync failed").waitFor();
    await card("website").getByText("History").click();
    await card("website").getByText("about.html").waitFor();
    for (const colorScheme of ["light", "dark"] as const) {
      await page.emulateMedia({ colorScheme, reducedMotion: "reduce" });
      const path = join(ROOT, `docs/images/dashboard-${colorScheme}.png`);
      await page.screenshot({ path, fullPage: true });
    }
  } finally {
    await browser.close();
  }
}

const folder = mkdtempSync(join(tmpdir(), "pannier-"));
try {
  await run(folder);
} finally {
  rmSync(folder, { recursive: true, force: true });
}
