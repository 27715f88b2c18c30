/** What the makers' SDKs cost: their size in a bundle, their import, and an unchanged poll beside one that loads none. */
import { mkdtemp, rm, stat, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { build } from "esbuild";
import { makeBlob, openBlobServer } from "../packages/adapter-azure/test/blob-server.ts";
import { startGcsServer } from "../packages/adapter-gcs/test/gcs-server.ts";
import { compete, type Contestant, table } from "./measure.ts";
import { pannier } from "./tools.ts";

const ROUNDS = Number(process.env["PANNIER_BENCH_ROUNDS"] ?? 9);

/** What each adapter loads of it. */
const LOADED = [
  ["`@aws-sdk/client-s3`", "adapter-s3", 'export { S3Client } from "@aws-sdk/client-s3";'],
  ["`@google-cloud/storage`", "adapter-gcs", 'export * from "./src/sdk.ts";'],
  ["`@azure/storage-blob`", "adapter-azure", 'export * from "./src/sdk.ts";'],
  [
    "`@azure/identity`",
    "adapter-azure",
    'export { DefaultAzureCredential } from "@azure/identity";',
  ],
] as const;

export async function sdks(): Promise<string> {
  const work = await mkdtemp(join(tmpdir(), "pannier-bench-sdks-"));
  try {
    return `${await imports(work)}\n\n${await polls(work)}`;
  } finally {
    await rm(work, { recursive: true, force: true });
  }
}

/** With Node's compile cache, as the program has it; the last is that of nothing. */
async function imports(work: string): Promise<string> {
  const loader = join(work, "load.mjs");
  await writeFile(
    loader,
    'import { enableCompileCache } from "node:module"; enableCompileCache(import.meta.dirname); if (process.argv[2]) await import(process.argv[2]);',
  );
  const contestants: Contestant[] = [];
  for (const [index, [name, room, contents]] of LOADED.entries()) {
    const outfile = join(work, `${index}.mjs`);
    await build({
      stdin: {
        contents,
        resolveDir: fileURLToPath(new URL(`../packages/${room}`, import.meta.url)),
      },
      outfile,
      bundle: true,
      minify: true,
      format: "esm",
      platform: "node",
      banner: {
        js: 'import{createRequire as __r}from"node:module";const require=__r(import.meta.url),__filename=import.meta.filename,__dirname=import.meta.dirname;',
      },
    });
    const size = `${Math.round((await stat(outfile)).size / 1024)} KiB`;
    const command = { program: process.execPath, args: [loader, outfile] };
    contestants.push({ name: `${name}, ${size} minified`, command });
  }
  const nothing = { program: process.execPath, args: [loader] };
  return table(await compete([...contestants, { name: "nothing", command: nothing }], ROUNDS));
}

/** `pannier sync` of twenty objects that did not change, on a server in this process; the last loads no SDK. */
async function polls(work: string): Promise<string> {
  const gcs = await startGcsServer();
  const azure = await openBlobServer();
  try {
    gcs.createBucket("bucket");
    azure.containers.set("box", new Map());
    azure.accepted.anonymous = true;
    for (let i = 0; i < 20; i++) {
      gcs.put("bucket", `f${i}`, "x");
      azure.containers.get("box")?.set(`f${i}`, makeBlob("x"));
    }
    const key = Buffer.from("any").toString("base64");
    const ways = [
      ["gcs", `gs://bucket/?anonymous=true&endpoint=${gcs.endpoint}`, {}],
      ["gcs, marker", `gs://bucket/?anonymous=true&marker=f0&endpoint=${gcs.endpoint}`, {}],
      [
        "azure, key",
        `az://storeaccount1/box/?endpoint=${azure.endpoint}`,
        { AZURE_STORAGE_KEY: key },
      ],
      [
        "azure, key, marker",
        `az://storeaccount1/box/?marker=f0&endpoint=${azure.endpoint}`,
        { AZURE_STORAGE_KEY: key },
      ],
      ["azure, anonymous", `az://storeaccount1/box/?anonymous=true&endpoint=${azure.endpoint}`, {}],
    ] as const;
    const contestants = ways.map(([name, url, env], index): Contestant => {
      const command = { ...pannier("sync", url, join(work, `target-${index}`)), env };
      return { name, command };
    });
    return table(await compete(contestants, ROUNDS));
  } finally {
    await gcs.close();
    await azure.close();
  }
}
