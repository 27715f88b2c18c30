/** examples/model-server: its manifest's command and environment, with other addresses, and a model of several parts. */
import { createHash, randomBytes } from "node:crypto";
import { createReadStream } from "node:fs";
import { mkdtemp, readFile, realpath, rm, stat } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { pipeline } from "node:stream/promises";
import { fileURLToPath } from "node:url";
import { expect, onTestFinished, test } from "vitest";
import { parse } from "yaml";
import { sdkServer } from "../../packages/adapter-s3/test/sdk-client.ts";
import { runPannier, startPannier } from "../support/pannier.ts";
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

    // The node has no memory left, say.
    const first = startPannier(args, {
      cwd: directory,
      env: { ...env, PANNIER_BANDWIDTH: "40Mi" },
    });
    setTimeout(() => first.child.kill("SIGKILL"), 2500);
    expect(await first.ended).toMatchObject({ signal: "SIGKILL" });
    await expect(stat(join(target, "current"))).rejects.toThrow("ENOENT");

    const trees: string[] = [];
    for (const published of [true, false]) {
      const { code, stderr, stdout } = await runPannier(args, { cwd: directory, env });
      expect(code, stderr).toBe(0);
      expect(`${stdout}${stderr}`.includes('"msg":"published"')).toBe(published);
      trees.push(await realpath(join(target, "current")));
    }
    expect(trees[1]).toBe(trees[0]);
    for (const [name, content] of Object.entries(files))
      expect(await digestOf(join(target, "current", name)), name).toBe(
        createHash("sha256").update(content).digest("hex"),
      );
  });
});

async function digestOf(path: string): Promise<string> {
  const hash = createHash("sha256");
  await pipeline(createReadStream(path), hash);
  return hash.digest("hex");
}
