/** Images with different adapters, each run as a cluster would run it, against real servers. */
import { execFileSync } from "node:child_process";
import { once } from "node:events";
import { chown, copyFile, readFile, stat, writeFile } from "node:fs/promises";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { join } from "node:path";
import { beforeAll, expect, inject, onTestFinished, test } from "vitest";
import { BUILT_IN } from "../../packages/cli/src/adapters.ts";
import { until } from "../real/servers/process.ts";
import { freePort } from "../support/free-port.ts";
import { buildImage, runContainer, startContainer, stopContainer, type Suite } from "./images.ts";
import { SOURCES } from "./sources.ts";
import { describeImage, makeDirectory, USER } from "./support.ts";

const ALL = BUILT_IN.map(({ name }) => name);
const STORES = ["s3", "gcs", "azure"].filter((name) => ALL.includes(name));

/** Build argument → the adapters that are then in the image, and what that is made from. */
const CHOICES: readonly (readonly [choice: string, has: readonly string[], suite?: Suite])[] = [
  ["git", ["git"]],
  [STORES.join(" "), STORES],
  [ALL.join(" "), ALL],
  ["http,@pannier/example-custom-adapter", ["http", "sqlite"]],
  // Those with libraries of the system.
  ["nfs smb", ["nfs", "smb"], "trixie"],
];

const servers = inject("servers");

for (const [choice, adapters, suite = "bookworm"] of CHOICES) {
  describeImage(`the image of ${choice} on ${suite}`, (images) => {
    let image = "";

    beforeAll(async () => {
      const built = await buildImage(images, choice, { suite });
      ({ image } = built);
      console.log(`The image of ${choice} has ${Math.round(built.bytes / 1e6)} MB`);
    });

    test("has these adapters, and says what to add for another", async () => {
      const { stdout } = await runContainer(images, image, ["adapters", "--json"]);
      const { adapters: found } = JSON.parse(stdout) as { adapters: { name: string }[] };
      expect(found.map(({ name }) => name)).toEqual(adapters);
      const left = BUILT_IN.find(({ name }) => !adapters.includes(name));
      if (left === undefined) return;
      const source = `${left.schemes[0]}:///x/`;
      expect(await runContainer(images, image, ["ls", source])).toMatchObject({
        code: 2,
        stderr: expect.stringContaining(`Add the package ${left.package}`),
      });
    });

    test("tells what is in it, Node included", async () => {
      const script =
        "cd /opt/pannier; cat sbom.cdx.json; grep -c 'Node.js contributors' LICENSES.txt >&2";
      const options = { entrypoint: "/bin/sh" };
      const { stdout, stderr } = await runContainer(images, image, ["-c", script], options);
      const { components } = JSON.parse(stdout) as { components: { name: string }[] };
      const names = components.map(({ name }) => name);
      expect(names).toEqual(expect.arrayContaining(["@pannier/core", "node"]));
      expect(Number(stderr)).toBeGreaterThan(0);
    });

    test("has neither npm nor what builds, and nothing of its user's but the volume", async () => {
      const script = `
        for program in npm npx corepack gcc cc make python3 curl; do command -v $program; done
        find / -xdev '(' -user ${USER} -o -perm -0002 ')' ! -type l ! -path '/dev/*' ! -path '/proc/*' 2>/dev/null
        id -u; id -g`;
      const options = { entrypoint: "/bin/sh" };
      const { stdout } = await runContainer(images, image, ["-c", script], options);
      const said = stdout.trim().split("\n");
      expect(said.filter((line) => !["/tmp", "/var/tmp", "/run/lock"].includes(line))).toEqual([
        "/content",
        String(USER),
        String(USER),
      ]);
    });

    for (const adapter of adapters) {
      const source = SOURCES[adapter];
      if (source === undefined) throw new Error(`no source for ${adapter} in sources.ts`);
      const missing = source.server && servers.missing[source.server];
      const meta = { skipReason: missing ?? "" };
      test.skipIf(missing)(`keeps up with ${adapter}`, { meta }, async () => {
        const page = await source.make(servers, await makeDirectory());
        await page.write("one");
        const content = await makeDirectory();
        await chown(content, USER, USER);
        const address = `127.0.0.1:${await freePort()}`;
        const { name, ended } = startContainer(images, image, [], {
          env: {
            PANNIER_SOURCE: page.url,
            PANNIER_TARGET: "/content",
            PANNIER_HTTP: address,
            PANNIER_PERIOD: "1s",
            ...page.env,
          },
          volumes: { [content]: "/content", ...page.volumes },
        });
        onTestFinished(() => stopContainer(images, name));
        const lost = ended.then((outcome) => {
          throw new Error(`it ended: ${JSON.stringify(outcome)}`);
        });
        const published = () => readFile(join(content, "current/page"), "utf8");
        const isReady = async () => (await statusOf(address, "/readyz")) === 200;

        await Promise.race([lost, until("readyz", isReady)]);
        expect(await published()).toBe("one");
        expect(await statusOf(address, "/livez")).toBe(200);
        await page.write("two");
        await Promise.race([lost, until("the change", async () => (await published()) === "two")]);
        expect((await stat(join(content, "current/page"))).uid).toBe(USER);

        lost.catch(() => {});
        await stopContainer(images, name);
        expect((await ended).code).toBe(0);
      });
    }
  });
}

describeImage("the image of a package of somebody else's", (images) => {
  test("has its adapter", async () => {
    const directory = await makeDirectory();
    const shelf = new URL("../program/bundle/shelf-adapter.js", import.meta.url);
    await copyFile(shelf, join(directory, "adapter.js"));
    const name = "pannier-adapter-shelf";
    const manifest = { name, version: "1.2.0", type: "module", exports: "./adapter.js" };
    await writeFile(join(directory, "package.json"), JSON.stringify(manifest));
    execFileSync("npm", ["pack", "--silent"], { cwd: directory });
    const packed = await readFile(join(directory, `${name}-1.2.0.tgz`));
    const registry = createServer((_, response) => response.end(packed)).listen(0, "127.0.0.1");
    await once(registry, "listening");
    onTestFinished(() => void registry.close());
    const { port } = registry.address() as AddressInfo;

    const packages = `http://127.0.0.1:${port}/shelf.tgz`;
    const { image } = await buildImage(images, name, { packages });
    const { stdout } = await runContainer(images, image, ["ls", "shelf://top/"]);
    expect(stdout).toMatch(/hello$/m);
  });
});

/** As a probe asks; `undefined` while nothing listens. */
function statusOf(address: string, path: string): Promise<number | undefined> {
  return fetch(`http://${address}${path}`).then(
    (response) => response.status,
    () => undefined,
  );
}
