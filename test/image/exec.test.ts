/** Looking inside a sidecar that runs, as `kubectl exec` does it. */
import { chmod, chown, mkdir, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { expect, onTestFinished, test } from "vitest";
import { until } from "../real/servers/process.ts";
import { freePort } from "../support/free-port.ts";
import { buildImage, execIn, startContainer, stopContainer } from "./images.ts";
import { describeImage, makeDirectory, USER } from "./support.ts";

const CONFIG = `mounts:
  - { name: site, target: /content/site, sources: [/source], period: 1s }
`;

describeImage("a sidecar that runs", (images) => {
  test("has a pannier on its path, for status, history, verify and doctor", async () => {
    const { image } = await buildImage(images, "file");
    const [content, source, config] = [
      await makeDirectory(),
      await makeDirectory(),
      await makeDirectory(),
    ];
    await chown(content, USER, USER);
    for (const directory of [source, config]) await chmod(directory, 0o755);
    await mkdir(join(source, "docs"));
    await writeFile(join(source, "docs/page"), "one");
    await writeFile(join(config, "pannier.yaml"), CONFIG);
    const address = `127.0.0.1:${await freePort()}`;
    const { name, ended } = startContainer(images, image, [], {
      env: { PANNIER_CONFIG: "/etc/pannier/pannier.yaml", PANNIER_HTTP: address },
      volumes: { [content]: "/content", [source]: "/source:ro", [config]: "/etc/pannier:ro" },
    });
    onTestFinished(() => stopContainer(images, name));
    const lost = ended.then((outcome) => {
      throw new Error(`it ended: ${JSON.stringify(outcome)}`);
    });
    lost.catch(() => {});
    const isReady = () =>
      fetch(`http://${address}/readyz`).then(
        ({ status }) => status === 200,
        () => false,
      );
    await Promise.race([lost, until("readyz", isReady)]);

    const run = (...args: string[]) => execIn(images, name, ["pannier", ...args]);
    const status = await run("status", "/content/site", "--json");
    expect(status).toMatchObject({ code: 0, stderr: "" });
    expect(JSON.parse(status.stdout)).toMatchObject({ files: 1, held: false });
    expect(await run("history", "/content/site")).toMatchObject({ code: 0 });
    expect(await run("verify", "/content/site")).toMatchObject({ code: 0 });
    const doctor = await run("doctor", "--mount", "site");
    expect(doctor).toMatchObject({ code: 0, stdout: expect.stringContaining("docs/page") });
  });
});
