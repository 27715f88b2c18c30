/** Google Cloud Storage on fake-gcs-server: many small objects, from nothing to published, beside rclone. */
import { randomBytes } from "node:crypto";
import { mkdtemp, readdir, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { apiClient } from "../packages/adapter-gcs/test/api-client.ts";
import { type GcsServer, startGcs } from "../test/real/servers/gcs.ts";
import { end, findProgram, type Ground } from "../test/real/servers/process.ts";
import { type Command, compete, type Contestant, type Result } from "./measure.ts";
import { pannier } from "./tools.ts";

const OBJECTS = 5000;
const ROUNDS = Number(process.env["PANNIER_BENCH_ROUNDS"] ?? 5);
const BUCKET = "bench";

/** One listing instead of one a directory, and as many transfers as helped. */
const TUNED = ["--fast-list", "--transfers=64", "--checkers=64"];

/** Pannier, rclone and rclone tuned, with targets on tmpfs and on a disk. */
export async function gcsFirst(): Promise<Result[]> {
  const [program, rclone] = ["fake-gcs-server", "rclone"].map(findProgram);
  if (program === undefined || rclone === undefined) {
    throw new Error("fake-gcs-server and rclone have to be in the path or in .tools/bin");
  }
  const work = await mkdtemp(join(tmpdir(), "pannier-bench-gcs-"));
  const ground: Ground = { base: await mkdtemp("/dev/shm/pannier-bench-gcs-"), children: [] };
  try {
    const server = await startGcs(ground, program, "filesystem");
    await fill(server);
    const results: Result[] = [];
    for (const [where, base] of [
      ["tmpfs", ground.base],
      ["disk", work],
    ] as const) {
      const target = join(base, "target");
      const fresh = (name: string, command: Command, published: string): Contestant => ({
        name: `${name}, ${where}`,
        command,
        prepare: () => rm(target, { recursive: true, force: true }),
        check: () => expectAll(join(target, published)),
      });
      const source = `gs://${BUCKET}/?anonymous=true&endpoint=${server.endpoint}`;
      const found = await compete(
        [
          fresh("pannier", pannier("sync", source, target), "current"),
          fresh("rclone", rcloneGcs(rclone, server, target, []), ""),
          fresh("rclone tuned", rcloneGcs(rclone, server, target, TUNED), ""),
        ],
        ROUNDS,
      );
      results.push(...found);
    }
    return results;
  } finally {
    await Promise.all(ground.children.map(end));
    await rm(ground.base, { recursive: true, force: true });
    await rm(work, { recursive: true, force: true });
  }
}

function rcloneGcs(
  program: string,
  { endpoint }: GcsServer,
  target: string,
  flags: readonly string[],
): Command {
  return {
    program,
    args: ["sync", `gcs:${BUCKET}`, target, ...flags],
    env: {
      RCLONE_CONFIG: "/dev/null",
      RCLONE_CONFIG_GCS_TYPE: "gcs",
      RCLONE_CONFIG_GCS_ANONYMOUS: "true",
      RCLONE_CONFIG_GCS_ENDPOINT: `${endpoint}/storage/v1/`,
      STORAGE_EMULATOR_HOST: endpoint,
    },
  };
}

/** Objects of 1 to 17 KiB in 50 directories. */
async function fill({ endpoint }: GcsServer): Promise<void> {
  const client = apiClient(endpoint);
  await client.createBucket(BUCKET);
  const left = Array.from({ length: OBJECTS }, (_, index) => index).values();
  const worker = async () => {
    for (const index of left) {
      const key = `dir-${String(index % 50).padStart(2, "0")}/file-${index}.bin`;
      await client.put(BUCKET, key, randomBytes(1024 + ((index * 7919) % 16_384)));
    }
  };
  await Promise.all(Array.from({ length: 16 }, worker));
}

async function expectAll(directory: string): Promise<void> {
  const entries = await readdir(directory, { recursive: true, withFileTypes: true });
  const files = entries.filter((entry) => entry.isFile());
  if (files.length !== OBJECTS) throw new Error(`${files.length} files instead of ${OBJECTS}`);
}
