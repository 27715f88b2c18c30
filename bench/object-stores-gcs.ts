/** Google Cloud Storage on fake-gcs-server: many small objects, from nothing to published, beside rclone. */
import { randomBytes } from "node:crypto";
import { mkdtemp, readdir, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { apiClient } from "../packages/adapter-gcs/test/api-client.ts";
import { findProgram } from "../test/real/servers/process.ts";
import { startServers } from "../test/real/servers/start.ts";
import { type Command, compete, type Contestant, type Result, table } from "./measure.ts";
import { pannier } from "./tools.ts";

const OBJECTS = 5000;
const ROUNDS = Number(process.env["PANNIER_BENCH_ROUNDS"] ?? 5);
const BUCKET = "bench";

/** One listing instead of one a directory, and as many transfers as helped. */
const TUNED = ["--fast-list", "--transfers=64", "--checkers=64"];

/** With targets on tmpfs and on a disk; ratios are to rclone's better setting. */
export async function gcsFirst(): Promise<string> {
  const rclone = findProgram("rclone");
  if (rclone === undefined) throw new Error("rclone has to be in the path or in .tools/bin");
  const running = await startServers(["gcs"]);
  const { gcs, missing } = running.servers;
  const work = await mkdtemp(join(tmpdir(), "pannier-bench-gcs-"));
  const memory = await mkdtemp("/dev/shm/pannier-bench-gcs-");
  try {
    if (gcs === undefined) throw new Error(missing["gcs"]);
    const { endpoint } = gcs.many;
    await fill(endpoint);
    const tables: string[] = [];
    for (const [where, base] of [
      ["tmpfs", memory],
      ["disk", work],
    ] as const) {
      const target = join(base, "target");
      const fresh = (name: string, command: Command, published: string): Contestant => ({
        name,
        command,
        prepare: () => rm(target, { recursive: true, force: true }),
        check: () => expectAll(join(target, published)),
      });
      const source = `gs://${BUCKET}/?anonymous=true&endpoint=${endpoint}`;
      const found = await compete(
        [
          fresh("pannier", pannier("sync", source, target), "current"),
          fresh("rclone", rcloneGcs(rclone, endpoint, target, []), ""),
          fresh("rclone tuned", rcloneGcs(rclone, endpoint, target, TUNED), ""),
        ],
        ROUNDS,
      );
      tables.push(`Target on ${where}:\n\n${table(toBetter(found))}`);
    }
    return tables.join("\n\n");
  } finally {
    await running.stop();
    await rm(memory, { recursive: true, force: true });
    await rm(work, { recursive: true, force: true });
  }
}

function rcloneGcs(
  program: string,
  endpoint: string,
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

const fastest = ({ costs }: Result) => Math.min(...costs.map(({ wall }) => wall));

/** Ours first, and of the others the fastest last. */
function toBetter([ours, ...theirs]: readonly Result[]): Result[] {
  return [ours as Result, ...theirs.toSorted((a, b) => fastest(b) - fastest(a))];
}

/** Objects of 1 to 17 KiB in 50 directories. */
async function fill(endpoint: string): Promise<void> {
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
