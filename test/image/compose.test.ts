/** The Compose file of the static site, run with images made here, on other ports and with a source of its own. */
import { execFile } from "node:child_process";
import { chmod, copyFile, mkdir, readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { existsSync } from "node:fs";
import { expect, inject, onTestFinished, test } from "vitest";
import { parse, stringify } from "yaml";
import { freePort } from "../support/free-port.ts";
import { buildImage, buildNginx, type Images, podmanOf } from "./images.ts";
import { makeDirectory } from "./support.ts";

const execute = promisify(execFile);
const EXAMPLE = fileURLToPath(new URL("../../examples/static-site", import.meta.url));
const COMPOSE = fileURLToPath(new URL("../../.tools/compose", import.meta.url));

const images = inject("images");
const missing =
  typeof images === "string"
    ? images
    : existsSync(COMPOSE)
      ? undefined
      : "podman-compose not installed: test/image/run installs what is missing";

test.skipIf(missing)(
  "a static site by compose",
  { meta: { skipReason: missing ?? "" } },
  async () => {
    const { directory, compose, podman, address } = await makeProject(images as Images);
    onTestFinished(async () => void (await compose("down", "--volumes")));
    const healthy = () =>
      podman("healthcheck", "run", "site_pannier_1").then(
        () => true,
        () => false,
      );
    const shown = () => fetch(`${address}/page`).then((response) => response.text(), String);

    // Nothing runs health checks here but we: podman leaves them to systemd.
    await compose("up", "--detach", "pannier");
    await expect.poll(healthy, { interval: 500 }).toBe(true);
    await compose("up", "--detach", "--no-deps", "site");
    await expect.poll(shown).toBe("one");
    await writeFile(join(directory, "source/page"), "two");
    await expect.poll(shown).toBe("two");
    await podman("stop", "--time", "20", "site_pannier_1");
    const state = await podman("inspect", "--format", "{{.State.ExitCode}}", "site_pannier_1");
    expect(state.trim()).toBe("0");
  },
);

async function makeProject(store: Images) {
  const directory = await makeDirectory();
  await chmod(directory, 0o755);
  await mkdir(join(directory, "source"));
  await writeFile(join(directory, "source/page"), "one");
  await mkdir(join(directory, "kubernetes/base"), { recursive: true });
  const config = "kubernetes/base/nginx.conf";
  await copyFile(join(EXAMPLE, config), join(directory, config));

  const project = parse(await readFile(join(EXAMPLE, "compose.yaml"), "utf8"));
  const { pannier, site } = project.services;
  delete pannier.build;
  pannier.image = (await buildImage(store, "file")).image;
  site.image = await buildNginx(store);
  const port = await freePort();
  pannier.ports = [`127.0.0.1:${await freePort()}:8080`];
  site.ports = [`127.0.0.1:${port}:8000`];
  pannier.volumes.push("./source:/source:ro");
  for (const service of [pannier, site]) service.ulimits = { nofile: 1024, nproc: 1024 };
  await writeFile(join(directory, "compose.yaml"), stringify(project));

  const [program, ...flags] = podmanOf(store);
  const script = join(directory, "podman");
  await writeFile(script, `#!/bin/sh\nexec ${[program, ...flags].join(" ")} "$@"\n`);
  await chmod(script, 0o755);
  const env = { ...process.env, PYTHONPATH: COMPOSE, SOURCE: "/source" };
  return {
    directory,
    address: `http://127.0.0.1:${port}`,
    compose: (...args: string[]) =>
      execute(
        "python3",
        ["-m", "podman_compose", "--podman-path", script, "--project-name", "site", ...args],
        { cwd: directory, env },
      ),
    podman: async (...args: string[]) => (await execute(script, args)).stdout,
  };
}
