/** Google Cloud Storage on fake-gcs-server: many small objects, from nothing to published, beside rclone. */
import { apiClient } from "../packages/adapter-gcs/test/api-client.ts";
import { startServers } from "../test/real/servers/start.ts";
import { firstSyncs, putAll, smallFiles, type Tool } from "./first-sync.ts";
import { pannier, rclone, RCLONE_TUNED } from "./tools.ts";

const OBJECTS = 5000;
const BUCKET = "bench";

export async function gcsFirst(): Promise<string> {
  const running = await startServers(["gcs"]);
  try {
    const { gcs, missing } = running.servers;
    if (gcs === undefined) throw new Error(missing["gcs"]);
    const { endpoint } = gcs.many;
    const client = apiClient(endpoint);
    await client.createBucket(BUCKET);
    await putAll(smallFiles(OBJECTS, 50), (key, content) => client.put(BUCKET, key, content));
    const source = `gs://${BUCKET}/?anonymous=true&endpoint=${endpoint}`;
    const peer = (name: string, flags: readonly string[]): Tool => ({
      name,
      command: (target) =>
        rclone(["sync", `gcs:${BUCKET}`, target, ...flags], {
          RCLONE_CONFIG_GCS_TYPE: "gcs",
          RCLONE_CONFIG_GCS_ANONYMOUS: "true",
          RCLONE_CONFIG_GCS_ENDPOINT: `${endpoint}/storage/v1/`,
          STORAGE_EMULATOR_HOST: endpoint,
        }),
    });
    return await firstSyncs({
      ours: [{ name: "pannier", command: (target) => pannier("sync", source, target) }],
      peers: [peer("rclone", []), peer("rclone tuned", RCLONE_TUNED)],
      files: OBJECTS,
    });
  } finally {
    await running.stop();
  }
}
