/** Azure Blob Storage on Azurite: many small blobs, from nothing to published, beside rclone. */
import { randomBytes } from "node:crypto";
import { mkdtemp, readdir, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { sdkClient } from "../packages/adapter-azure/test/sdk-client.ts";
import type { AzureServer } from "../test/real/servers/azure.ts";
import { findProgram } from "../test/real/servers/process.ts";
import { startServers } from "../test/real/servers/start.ts";
import { type Command, compete, type Contestant, type Result, table } from "./measure.ts";
import { pannier } from "./tools.ts";

const BLOBS = 5000;
const ROUNDS = Number(process.env["PANNIER_BENCH_ROUNDS"] ?? 5);
const CONTAINER = "bench";

/** One listing instead of one a directory, and as many transfers as helped. */
const TUNED = ["--fast-list", "--transfers=64", "--checkers=64"];

/** With targets on tmpfs and on a disk; ratios are to rclone's better setting. */
export async function azureFirst(): Promise<string> {
  const rclone = findProgram("rclone");
  if (rclone === undefined) throw new Error("rclone has to be in the path or in .tools/bin");
  const running = await startServers(["azure"]);
  const { azure, missing } = running.servers;
  const work = await mkdtemp(join(tmpdir(), "pannier-bench-azure-"));
  const memory = await mkdtemp("/dev/shm/pannier-bench-azure-");
  try {
    if (azure === undefined) throw new Error(missing["azure"]);
    await fill(azure);
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
      const found = await compete(
        [
          fresh("pannier", pannierAzure(azure, target), "current"),
          fresh("rclone", rcloneAzure(rclone, azure, target, []), ""),
          fresh("rclone tuned", rcloneAzure(rclone, azure, target, TUNED), ""),
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

function pannierAzure({ account, key, endpoint }: AzureServer, target: string): Command {
  const source = `az://${account}/${CONTAINER}/?endpoint=${encodeURIComponent(endpoint)}`;
  return { ...pannier("sync", source, target), env: { AZURE_STORAGE_KEY: key } };
}

function rcloneAzure(
  program: string,
  { account, key, endpoint }: AzureServer,
  target: string,
  flags: readonly string[],
): Command {
  return {
    program,
    args: ["sync", `azure:${CONTAINER}`, target, ...flags],
    env: {
      RCLONE_CONFIG: "/dev/null",
      RCLONE_CONFIG_AZURE_TYPE: "azureblob",
      // Understood since 1.62; older ones would take an endpoint for the end of a host's name.
      RCLONE_CONFIG_AZURE_CONNECTION_STRING: `AccountName=${account};AccountKey=${key};BlobEndpoint=${endpoint}`,
    },
  };
}

const fastest = ({ costs }: Result) => Math.min(...costs.map(({ wall }) => wall));

/** Ours first, and of the others the fastest last. */
function toBetter([ours, ...theirs]: readonly Result[]): Result[] {
  return [ours as Result, ...theirs.toSorted((a, b) => fastest(b) - fastest(a))];
}

/** Blobs of 1 to 17 KiB in 50 directories. */
async function fill(server: AzureServer): Promise<void> {
  const client = sdkClient(server);
  await client.createBucket(CONTAINER);
  const left = Array.from({ length: BLOBS }, (_, index) => index).values();
  const worker = async () => {
    for (const index of left) {
      const key = `dir-${String(index % 50).padStart(2, "0")}/file-${index}.bin`;
      await client.put(CONTAINER, key, randomBytes(1024 + ((index * 7919) % 16_384)));
    }
  };
  await Promise.all(Array.from({ length: 16 }, worker));
}

async function expectAll(directory: string): Promise<void> {
  const entries = await readdir(directory, { recursive: true, withFileTypes: true });
  const files = entries.filter((entry) => entry.isFile());
  if (files.length !== BLOBS) throw new Error(`${files.length} files instead of ${BLOBS}`);
}
