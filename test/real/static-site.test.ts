/** examples/static-site: its own configurations, with other addresses, of nginx and of Pannier, which share a directory. */
import { chmod, mkdir, mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { describe, expect, inject, onTestFinished, test } from "vitest";
import { parse } from "yaml";
import { BUILT_IN } from "../../packages/cli/src/adapters.ts";
import { SOURCES } from "../image/sources.ts";
import { startPannier } from "../support/pannier.ts";
import { end, findProgram, listening, run, until } from "./servers/process.ts";

const EXAMPLE = fileURLToPath(
  new URL("../../examples/static-site/kubernetes/base", import.meta.url),
);
const servers = inject("servers");
const nginx = findProgram("nginx");

describe("a static site", () => {
  for (const { name } of BUILT_IN) {
    const { server, make } = SOURCES[name] as (typeof SOURCES)[string];
    const missing = nginx === undefined ? "nginx not installed" : server && servers.missing[server];
    const meta = { skipReason: missing ?? "" };
    test.skipIf(missing)(`shows what changes on ${name}`, { meta }, async () => {
      const directory = await mkdtemp(join(tmpdir(), "pannier-site-"));
      onTestFinished(() => rm(directory, { recursive: true }));
      await chmod(directory, 0o755);
      const page = await make(servers, directory);
      await page.write("one");

      const config = parse(await readFile(join(EXAMPLE, "pannier.yaml"), "utf8"));
      const content = join(directory, "content");
      Object.assign(config.mounts[0], { target: content, period: "500ms" });
      config.http = { enabled: false };
      await writeFile(join(directory, "pannier.yaml"), JSON.stringify(config));
      // Nothing else differs from one kind of source to another.
      const env = { SOURCE: page.url, ...page.env };
      const sidecar = startPannier(["run"], { cwd: directory, env });
      onTestFinished(async () => {
        sidecar.child.kill("SIGTERM");
        expect((await sidecar.ended).code).toBe(0);
      });
      const address = await startSite(directory, content);

      const shown = () => fetch(`${address}/page`).then((response) => response.text());
      await until("the site", async () => (await shown()) === "one");
      await page.write("two");
      await until("the change", async () => (await shown()) === "two");
    });
  }
});

/** @returns its address */
async function startSite(directory: string, content: string): Promise<string> {
  const text = await readFile(join(EXAMPLE, "nginx.conf"), "utf8");
  const temporary = join(directory, "tmp");
  await mkdir(temporary);
  const { child, ports } = await listening("nginx", 1, async ([port]) => {
    const moved = text
      .replaceAll("/tmp/", `${temporary}/`)
      .replaceAll("/content/", `${content}/`)
      .replace("listen 8000", `listen 127.0.0.1:${port}`);
    await writeFile(join(directory, "nginx.conf"), moved);
    return run(nginx as string, ["-g", "daemon off;", "-c", join(directory, "nginx.conf")]);
  });
  onTestFinished(() => end(child));
  return `http://127.0.0.1:${ports[0]}`;
}
