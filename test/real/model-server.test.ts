/** examples/model-server: its manifest's command and environment, with other addresses, and a model of several parts. */
import { createHash, randomBytes } from "node:crypto";
import { createReadStream } from "node:fs";
import { lstat, mkdtemp, readdir, readFile, realpath, rm, stat } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { pipeline } from "node:stream/promises";
import { fileURLToPath } from "node:url";
import { expect, onTestFinished, test } from "vitest";
import { parse } from "yaml";
import { sdkServer } from "../../packages/adapter-s3/test/sdk-client.ts";
import { runPannier, startPannier } from "../support/pannier.ts";
import { until } from "./servers/process.ts";
import { describeWith } from "./support.ts";

const MANIFEST = fileURLToPath(
  new URL("../../examples/model-server/kubernetes/deployment.yaml", import.meta.url),
);
const BUCKET = "models";
const MiB = 2 ** 20;

describeWith("versity", "a model before its server", ({ port, keys }) => {
  test("is fetched once, whole, also after a kill, and found by the next pod", async () => {
    const directory = await mkdtemp(join(tmpdir(), "pannier-model-"));
    onTestFinished(() => rm(directory, { recursive: true }));
    const server = sdkServer(port, keys);
    await server.createBucket(BUCKET);
    const files: Readonly<Record<string, Buffer>> = {
      "config.json": Buffer.from('{"layers":2}'),
      "model-1.safetensors": randomBytes(96 * MiB),
      "model-2.safetensors": randomBytes(96 * MiB + 1),
    };
    for (const [name, content] of Object.entries(files))
      await server.put(BUCKET, `llm/2026-11/${name}`, content);

    const { args, env: variables } = parse(await readFile(MANIFEST, "utf8")).spec.template.spec
      .initContainers[0] as { args: string[]; env: { name: string; value: string }[] };
    const target = join(directory, "models");
    const env = {
      ...Object.fromEntries(variables.map(({ name, value }) => [name, value])),
      PANNIER_TARGET: target,
      PANNIER_LOG_FORMAT: "json",
      AWS_ENDPOINT_URL_S3: `http://127.0.0.1:${port}`,
      AWS_REGION: "us-east-1",
      AWS_ACCESS_KEY_ID: keys.id,
      AWS_SECRET_ACCESS_KEY: keys.secret,
      AWS_EC2_METADATA_DISABLED: "true",
    };
    expect(env).toMatchObject({ PANNIER_SOURCE: "s3://models/llm/2026-11/" });

    // The node has no memory left, say, while the second of the large files is fetched.
    const first = startPannier(args, {
      cwd: directory,
      env: { ...env, PANNIER_BANDWIDTH: "40Mi", PANNIER_CONCURRENCY: "1" },
    });
    await until("the middle", async () => (await sizeOf(target)) > 128 * MiB);
    first.child.kill("SIGKILL");
    expect(await first.ended).toMatchObject({ signal: "SIGKILL" });
    await expect(stat(join(target, "current"))).rejects.toThrow("ENOENT");

    const trees: string[] = [];
    let received = Number.NaN;
    for (const published of [true, false]) {
      const { code, stderr, stdout } = await runPannier(args, { cwd: directory, env });
      expect(code, stderr).toBe(0);
      const [line] = /^.*"msg":"published".*$/m.exec(`${stdout}${stderr}`) ?? [];
      expect(line !== undefined).toBe(published);
      // One of the two was there.
      if (line !== undefined) received = (JSON.parse(line) as { received: number }).received;
      trees.push(await realpath(join(target, "current")));
    }
    expect(received).toBeLessThan(97 * MiB);
    expect(trees[1]).toBe(trees[0]);
    for (const [name, content] of Object.entries(files))
      expect(await digestOf(join(target, "current", name)), name).toBe(
        createHash("sha256").update(content).digest("hex"),
      );
  });
});

/** Of the content that is in a directory so far. */
async function sizeOf(directory: string): Promise<number> {
  const files = await readdir(directory, { recursive: true }).catch(() => []);
  const sizes = files.map((file) =>
    lstat(join(directory, file)).then(
      (one) => (one.isFile() ? one.blocks * 512 : 0),
      () => 0,
    ),
  );
  return (await Promise.all(sizes)).reduce((sum, size) => sum + size, 0);
}

async function digestOf(path: string): Promise<string> {
  const hash = createHash("sha256");
  await pipeline(createReadStream(path), hash);
  return hash.digest("hex");
}
