/** The documentation site in a browser, as `npm run docs:site` built it. */
import { existsSync, globSync } from "node:fs";
import { join } from "node:path";
import axe from "axe-core";
import { type Browser, chromium } from "playwright-core";
import { afterAll, beforeAll, expect, test } from "vitest";
import { listen, makeServer } from "../../apps/demo/src/static-server.ts";
import { ROOT } from "../../scripts/repository.ts";
import { describeWithProgram } from "./support.ts";

const CHROMIUM = "/usr/bin/chromium";
const SITE = join(ROOT, "apps/site/dist");
const PAGES = globSync("**/*.html", { cwd: SITE })
  .filter((page) => !page.startsWith("api/") && page !== "404.html")
  .toSorted();
const skipReason = "not built: npm run docs:site";

describeWithProgram(CHROMIUM, "the documentation site", () => {
  const server = makeServer(SITE);
  let browser: Browser;
  let home: string;

  beforeAll(async () => {
    home = `http://127.0.0.1:${await listen(server, 15_173)}/`;
    browser = await chromium.launch({
      executablePath: CHROMIUM,
      args: ["--headless", "--no-sandbox", "--disable-gpu"],
    });
  });

  afterAll(async () => {
    await browser.close();
    server.close();
  });

  test.skipIf(!existsSync(SITE)).each(["light", "dark"] as const)(
    "axe finds nothing wrong with any page, in %s",
    { meta: { skipReason }, timeout: 600_000 },
    async (colorScheme) => {
      expect(PAGES.length).toBeGreaterThan(50);
      const page = await browser.newPage({ colorScheme });
      for (const path of PAGES) {
        await page.goto(`${home}${path}`);
        // Which the script names, once it is there.
        await page
          .locator(".VPSwitchAppearance[title^=Switch]")
          .first()
          .waitFor({ state: "attached" });
        const violations = await page.evaluate(`${axe.source}; axe.run(document).then(
          ({ violations }) => violations.map(({ id, nodes }) => [id, ...nodes.map(({ html }) => html)]))`);
        expect(violations, path).toEqual([]);
      }
      await page.close();
    },
  );
});
