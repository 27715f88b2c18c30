/** What the benches of S3 have in common: servers, and how each tool is told of them. */
import { mkdtemp, rm } from "node:fs/promises";
import { sdkServer } from "../packages/adapter-s3/test/sdk-client.ts";
import { startServers } from "../test/real/servers/start.ts";
import type { Command } from "./measure.ts";
import { pannier, rclone, RCLONE_TUNED } from "./tools.ts";

export const BUCKET = "bench";

/** Beside what helps with every store, no HEAD for a time that nobody asked for. */
export const TUNED = [
  ...RCLONE_TUNED,
  "--use-server-modtime",
  "--s3-no-head",
  "--s3-no-check-bucket",
  "--buffer-size=0",
];

export interface Store {
  readonly endpoint: string;
  readonly keys: { readonly id: string; readonly secret: string };
  /** File of the authority that signed its certificate. */
  readonly ca?: string;
}

/** Versity's gateway with an empty bucket, for as long as `use` takes. */
export async function withVersity(
  use: (
    store: Store,
    put: (key: string, content: Uint8Array) => void | Promise<void>,
  ) => Promise<string>,
): Promise<string> {
  // The servers keep their data below the temporary directory: a disk would be measured beside the network.
  const memory = await mkdtemp("/dev/shm/pannier-bench-s3-");
  process.env["TMPDIR"] = memory;
  const running = await startServers(["versity"]);
  delete process.env["TMPDIR"];
  try {
    const { versity, missing } = running.servers;
    if (versity === undefined) throw new Error(missing["versity"]);
    const { port, keys } = versity;
    const server = sdkServer(port, keys);
    await server.createBucket(BUCKET);
    return await use({ endpoint: `http://127.0.0.1:${port}`, keys }, (key, content) =>
      server.put(BUCKET, key, content),
    );
  } finally {
    await running.stop();
    await rm(memory, { recursive: true, force: true });
  }
}

export function pannierS3(store: Store, target: string, bucket = BUCKET): Command {
  const source = `s3://${bucket}/?endpoint=${store.endpoint}`;
  const env = store.ca === undefined ? {} : { PANNIER_CA_FILE: store.ca };
  return { ...pannier("sync", source, target), env: { ...credentials(store), ...env } };
}

export function rcloneS3(
  store: Pick<Store, "endpoint"> & Partial<Store>,
  args: readonly string[],
): Command {
  return rclone([...args, ...(store.ca === undefined ? [] : [`--ca-cert=${store.ca}`])], {
    ...credentials(store),
    RCLONE_CONFIG_S3_TYPE: "s3",
    RCLONE_CONFIG_S3_PROVIDER: "Other",
    RCLONE_CONFIG_S3_LIST_VERSION: "2",
    RCLONE_CONFIG_S3_ENDPOINT: store.endpoint,
    ...(store.keys === undefined ? {} : { RCLONE_CONFIG_S3_ENV_AUTH: "true" }),
  });
}

function credentials({ keys }: Partial<Store>): Readonly<Record<string, string>> {
  if (keys === undefined) return {};
  return {
    AWS_ACCESS_KEY_ID: keys.id,
    AWS_SECRET_ACCESS_KEY: keys.secret,
    AWS_REGION: "us-east-1",
    AWS_EC2_METADATA_DISABLED: "true",
  };
}
