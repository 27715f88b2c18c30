/** The dashboard in a browser. `PANNIER_SCREENSHOTS=DIR` keeps pictures of it. */
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { EventEmitter, on } from "node:events";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { SourceError } from "@pannier/core";
import axe from "axe-core";
import { type BrowserContext, chromium, type Page } from "playwright-core";
import { afterAll, beforeAll, expect, test } from "vitest";
import { httpConfig } from "../../packages/daemon/src/config/config.ts";
import {
  daemonConfig,
  mountConfig,
  type Running,
  scratch,
  startDaemon,
} from "../../packages/daemon/test/run-daemon.ts";
import { describeWithProgram } from "./support.ts";

const CHROMIUM = "/usr/bin/chromium";
const TOKEN = "let-me-in";

/** What axe finds wrong with the page, as it is shown now. */
async function audit(page: Page): Promise<unknown> {
  return await page.evaluate(`${axe.source}; axe.run(document).then(({ violations }) =>
    violations.map(({ id, nodes }) => [id, ...nodes.map(({ html }) => html)]))`);
}

/** Mounts in every state: fine, failing with and without content, at work. */
async function start(): Promise<Running> {
  const folder = scratch();
  writeFileSync(join(folder, "token"), TOKEN);
  const http = httpConfig({
    host: "127.0.0.1",
    port: 0,
    triggerTokenFile: join(folder, "token"),
  });
  const names = ["website", "brand-assets", "models", "policies"];
  const daemon = startDaemon(
    daemonConfig(
      names.map((name) => mountConfig(name, join(folder, name))),
      { http },
    ),
    { contents: { website: { "index.html": "<h1>Hello</h1>", "css/site.css": "body {}" } } },
  );
  daemon.source("policies").beforeList = () => {
    throw new SourceError("auth", "the server did not accept the password", {
      transient: false,
      hint: "look at PANNIER_PASSWORD_FILE",
    });
  };
  await daemon.event("website", "waiting");
  await daemon.event("policies", "failed");
  return daemon;
}

const card = (page: Page, name: string) => page.getByRole("article", { name });

async function picture(page: Page, name: string, fullPage = true): Promise<void> {
  const folder = process.env["PANNIER_SCREENSHOTS"];
  if (folder !== undefined) await page.screenshot({ path: join(folder, `${name}.png`), fullPage });
}

describeWithProgram(CHROMIUM, "the dashboard", () => {
  let profile: string;
  let browser: BrowserContext;

  beforeAll(async () => {
    profile = mkdtempSync(join(tmpdir(), "pannier-chromium-"));
    browser = await chromium.launchPersistentContext(profile, {
      executablePath: CHROMIUM,
      args: "--headless --no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking --disable-component-update --disable-sync".split(
        " ",
      ),
    });
  });

  afterAll(async () => {
    await browser.close();
    rmSync(profile, { recursive: true, force: true });
  });

  async function open(daemon: Running, look: { dark?: boolean; phone?: boolean } = {}) {
    const page = await browser.newPage();
    const problems: string[] = [];
    page.on("console", (message) => {
      if (message.type() === "error" || message.type() === "warning") problems.push(message.text());
    });
    page.on("pageerror", (error) => problems.push(error.message));
    page.on("request", (request) => {
      if (!request.url().startsWith("http://127.0.0.1:") && !request.url().startsWith("data:"))
        problems.push(`asked ${request.url()}`);
    });
    await page.emulateMedia({ colorScheme: look.dark === true ? "dark" : "light" });
    await page.setViewportSize(
      look.phone === true ? { width: 375, height: 812 } : { width: 1200, height: 860 },
    );
    await page.goto(await daemon.url("/"));
    await page.getByText("Live").waitFor();
    return { page, problems };
  }

  test("shows that a mount was rolled back, and that a hook failed for good", async () => {
    const folder = scratch();
    writeFileSync(join(folder, "token"), TOKEN);
    const http = httpConfig({
      host: "127.0.0.1",
      port: 0,
      triggerTokenFile: join(folder, "token"),
    });
    const hook = { command: ["/bin/false"], timeout: 5000, env: {}, retries: 0 };
    const mounts = [
      mountConfig("website", join(folder, "website")),
      mountConfig("models", join(folder, "models"), { hooks: { postPublish: [hook] } }),
    ];
    const daemon = startDaemon(daemonConfig(mounts, { http }));
    await daemon.event("models", "hook");
    const post = async (path: string) =>
      fetch(await daemon.url(path), {
        method: "POST",
        headers: { authorization: `Bearer ${TOKEN}` },
      });
    await daemon.event("website", "waiting");
    daemon.source("website").content = { a: "2" };
    await post("/sync/website?wait=1");
    await post("/rollback/website");
    const { page, problems } = await open(daemon);
    await card(page, "website").getByText("Rolled back until the source changes").waitFor();
    await card(page, "models").getByText("Published, but a hook failed").waitFor();
    await card(page, "models").getByText("/bin/false: it ended with code 1").waitFor();
    expect(problems).toEqual([]);
    await page.close();
  });

  test("shows mounts, history and progress, as it happens", async () => {
    const daemon = await start();
    const { page, problems } = await open(daemon);
    await card(page, "website").getByText("Up to date").waitFor();
    await card(page, "website").getByText("2 files, 21 B").waitFor();
    const failing = card(page, "policies");
    await failing
      .getByText(
        /^The last sync failed\S+: the server did not accept the passwordLook at PANNIER_PASSWORD_FILE$/,
      )
      .waitFor();
    expect(await page.title()).toBe("(1) Pannier");
    expect(await page.locator("#summary").textContent()).toContain("1 of 4 mounts failing");

    await card(page, "website").getByText("History").click();
    await card(page, "website").getByText("css/site.css").waitFor();
    const go = Promise.withResolvers<void>();
    const models = daemon.source("models");
    models.content = Object.fromEntries(
      Array.from({ length: 300 }, (_, index) => [`weights/part-${index}.bin`, "x".repeat(20_000)]),
    );
    let reads = 0;
    models.beforeRead = async () => {
      if (++reads > 120) await go.promise;
    };
    daemon.source("website").content = {
      "index.html": "<h1>Hello, world</h1>",
      "about.html": "<h1>About</h1>",
    };
    for (const name of ["models", "website"])
      await fetch(await daemon.url(`/sync/${name}`), {
        method: "POST",
        headers: { authorization: `Bearer ${TOKEN}` },
      });
    // Without a reload, and with the history left open.
    await card(page, "website").getByText("about.html").waitFor();
    await card(page, "models")
      .getByText(/^[1-9]\d* of 300 files/)
      .waitFor();
    expect(
      Number(
        await page.getByRole("progressbar", { name: "Progress of models" }).getAttribute("value"),
      ),
    ).toBeGreaterThan(0);
    await picture(page, "light");
    await page.emulateMedia({ colorScheme: "dark" });
    await picture(page, "dark");
    await page.setViewportSize({ width: 375, height: 812 });
    await picture(page, "phone-dark");
    await page.emulateMedia({ colorScheme: "light" });
    await picture(page, "phone");
    go.resolve();
    await card(page, "models").getByText("300 files, 5.7 MiB").waitFor();
    expect(problems).toEqual([]);
  });

  test("rolls back to a revision that is kept, after a yes and with the token", async () => {
    const daemon = await start();
    daemon.source("website").content = { "index.html": "new" };
    await fetch(await daemon.url("/sync/website?wait=1"), {
      method: "POST",
      headers: { authorization: `Bearer ${TOKEN}` },
    });
    const { page, problems } = await open(daemon);
    const website = card(page, "website");
    await website.getByText("1 file, 3 B").waitFor();
    await website.getByText("History").click();
    expect(await audit(page)).toEqual([]);
    await website.getByRole("button", { name: /^Roll back website to / }).click();
    const dialog = page.getByRole("dialog", { name: "Roll back" });
    await dialog.getByText(/^“website” goes back to \S+, and stays there until/).waitFor();
    expect(await website.getByText("1 file, 3 B").count()).toBe(1);
    await dialog.getByLabel(/^Token/).fill(TOKEN);
    await dialog.getByRole("button", { name: "Roll back" }).click();
    await website.getByText("Rolled back until the source changes").waitFor();
    await website.getByText("2 files, 21 B").waitFor();
    await page.locator("#toast", { hasText: "Rolled website back to" }).waitFor();
    expect(problems).toEqual([]);
  });

  test("has what fails first, since when, and the revision of each source", async () => {
    const daemon = await start();
    const { page } = await open(daemon);
    expect(await page.getByRole("article").first().getByRole("heading").textContent()).toBe(
      "policies",
    );
    Object.assign(daemon.source("website"), { revision: "v7", content: { a: "1" } });
    for (const name of ["policies", "website"])
      await fetch(await daemon.url(`/sync/${name}?wait=1`), {
        method: "POST",
        headers: { authorization: `Bearer ${TOKEN}` },
      });
    await card(page, "policies")
      .getByText(/^Failed 2 times in a row, first (just now|\d+ s ago)$/)
      .waitFor();
    await card(page, "website").getByText("memory://website/ at v7").waitFor();
  });

  test("has attempts that published nothing in the history", async () => {
    const daemon = await start();
    const { page, problems } = await open(daemon);
    const policies = card(page, "policies");
    await policies.getByText("History").click();
    await policies
      .getByRole("listitem")
      .filter({ hasText: /^Failed/ })
      .waitFor();
    await fetch(await daemon.url("/sync/policies?wait=1"), {
      method: "POST",
      headers: { authorization: `Bearer ${TOKEN}` },
    });
    // Without a reload.
    const again = policies.getByRole("listitem").filter({ hasText: /^Failed.*2 times, first / });
    await again.getByText("the server did not accept the password").waitFor();
    expect(problems).toEqual([]);
  });

  test("keeps a hundred mounts and an error of 4,000 characters readable on a phone", async () => {
    const folder = scratch();
    const names = Array.from({ length: 100 }, (_, index) => `site-${index}`);
    const long = Array.from({ length: 40 }, (_, line) => `rule ${line} `.padEnd(100, "x"));
    const daemon = startDaemon(
      daemonConfig(names.map((name) => mountConfig(name, join(folder, name)))),
    );
    daemon.source("site-42").beforeList = () => {
      throw new SourceError("invalid", long.join("\n"), { transient: false });
    };
    await Promise.all(
      names.map((name) => daemon.event(name, name === "site-42" ? "failed" : "done")),
    );
    const { page, problems } = await open(daemon, { phone: true, dark: true });
    await page.getByText("1 of 100 mounts failing").waitFor();
    const failing = card(page, "site-42");
    expect((await failing.boundingBox())?.y).toBeLessThan(400);
    await picture(page, "many", false);
    await failing.getByRole("button", { name: "Show all 4,0" }).click();
    await failing.getByText(/rule 39 x+$/).waitFor();
    // Drawn again each second or so, and still open.
    await fetch(await daemon.url("/status"));
    await failing.getByRole("button", { name: "Show less" }).waitFor();
    await picture(page, "many-open", false);
    expect(await page.evaluate("document.documentElement.scrollWidth")).toBeLessThanOrEqual(375);
    expect(await audit(page)).toEqual([]);
    expect(problems).toEqual([]);
  });

  test("is readable on a phone: nothing is wider than the screen", async () => {
    const { page } = await open(await start(), { phone: true });
    await card(page, "website").getByText("History").click();
    await card(page, "website").getByText("css/site.css").waitFor();
    expect(await page.evaluate("document.documentElement.scrollWidth")).toBeLessThanOrEqual(375);
  });

  test("asks for the token, and is used by keyboard alone", async () => {
    const daemon = await start();
    const { page, problems } = await open(daemon);
    const dialog = page.getByRole("dialog", { name: "Sync now" });
    const reach = async (name: string) => {
      for (let presses = 0; presses < 40; presses++) {
        await page.keyboard.press("Tab");
        const label = await page.evaluate(
          "document.activeElement.getAttribute('aria-label') ?? document.activeElement.textContent",
        );
        if (label === name) return;
      }
      throw new Error(`${name} cannot be reached`);
    };
    await reach("Sync now: website");
    await page.keyboard.press("Enter");
    await dialog.waitFor();
    await picture(page, "dialog");
    expect(await audit(page)).toEqual([]);
    await page.keyboard.type("wrong");
    await page.keyboard.press("Enter");
    await dialog.getByText("This token is not accepted.").waitFor();
    daemon.source("website").content = { "index.html": "new" };
    await page.keyboard.type(TOKEN);
    await page.keyboard.press("Enter");
    await dialog.waitFor({ state: "hidden" });
    await card(page, "website").getByText("1 file, 3 B").waitFor();
    // What a screen reader hears, and where the keyboard is then.
    await page.getByRole("status").filter({ hasText: "website: Up to date" }).waitFor();
    expect(await page.evaluate("document.activeElement.getAttribute('aria-label')")).toBe(
      "Sync now: website",
    );
    // The token is remembered while the page is open, and nowhere else.
    daemon.source("website").content = { "index.html": "newer" };
    await page.keyboard.press("Enter");
    await card(page, "website").getByText("1 file, 5 B").waitFor();
    expect(
      await page.evaluate(
        "JSON.stringify([{ ...localStorage }, { ...sessionStorage }, document.cookie])",
      ),
    ).toBe('[{},{},""]');
    await reach("History of website");
    await page.keyboard.press("Enter");
    await card(page, "website").getByText("1 changed, 1 deleted").waitFor();
    expect(problems.filter((problem) => !problem.includes("401"))).toEqual([]);
  });

  test("axe finds nothing wrong, in light and dark, with the history open", async () => {
    const { page } = await open(await start());
    await card(page, "website").getByText("History").click();
    await card(page, "website").getByText("css/site.css").waitFor();
    for (const dark of [false, true]) {
      await page.emulateMedia({ colorScheme: dark ? "dark" : "light" });
      expect(await audit(page)).toEqual([]);
    }
  });

  test("shows hostile names as text", async () => {
    const daemon = await start();
    const { page, problems } = await open(daemon);
    const name = '<img src=x onerror="document.title=1">';
    daemon.source("website").content = { [name]: "1" };
    await card(page, "website").getByText("History").click();
    await fetch(await daemon.url("/sync/website"), {
      method: "POST",
      headers: { authorization: `Bearer ${TOKEN}` },
    });
    await card(page, "website").getByText(name).waitFor();
    expect(await page.locator("article img").count()).toBe(0);
    expect(problems).toEqual([]);
  });

  test("says when it is cut off, and comes back by itself", async () => {
    const folder = scratch();
    const mounts = [mountConfig("site", join(folder, "t"))];
    const first = startDaemon(daemonConfig(mounts));
    const { page } = await open(first);
    const port = Number(new URL(page.url()).port);
    await first.stop();
    await page.getByText("Connection lost, trying again").waitFor();
    await page.getByRole("status").filter({ hasText: "The connection is lost" }).waitFor();
    startDaemon(daemonConfig(mounts, { http: httpConfig({ host: "127.0.0.1", port }) }));
    await page.getByText("Live").waitFor();
    const fine = card(page, "site").getByText("Up to date");
    await fine.waitFor();
    expect(await fine.count()).toBe(1);
  });

  test("comes in by itself once there are fewer viewers", async () => {
    const daemon = startDaemon(daemonConfig([mountConfig("site", join(scratch(), "t"))]));
    const url = await daemon.url("/events");
    // Kept: what nobody holds is closed when memory is collected.
    const viewers = await Promise.all(Array.from({ length: 50 }, () => fetch(url)));
    const page = await browser.newPage();
    await page.goto(await daemon.url("/"));
    await page.getByText("Connection lost, trying again").waitFor();
    await Promise.all(viewers.map(({ body }) => body?.cancel()));
    await page.getByText("Live").waitFor();
    expect(await card(page, "site").count()).toBe(1);
  });

  test("does not say of a mount that waits for its turn that it is up to date", async () => {
    const folder = scratch();
    const mounts = ["one", "two"].map((name) => mountConfig(name, join(folder, name)));
    const asking = new EventEmitter();
    const daemon = startDaemon(daemonConfig(mounts, { maxActive: 1 }), {
      triggers: on(asking, "all"),
    });
    for (const { name } of mounts) {
      await daemon.event(name, "waiting");
      daemon.source(name).beforeList = () => new Promise(() => {});
    }
    const { page } = await open(daemon);
    await page.getByText("All 2 mounts are up to date").waitFor();
    asking.emit("all");
    await page.getByText("1 syncing · 1 waiting").waitFor();
    expect(await page.locator(".badge", { hasText: "Waiting for its turn" }).count()).toBe(1);
  });
});
