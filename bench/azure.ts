/** Azure Blob Storage on Azurite: many small blobs, from nothing to published, beside rclone. */
import { sdkClient } from "../packages/adapter-azure/test/sdk-client.ts";
import { startServers } from "../test/real/servers/start.ts";
import { firstSyncs, putAll, smallFiles, type Tool } from "./first-sync.ts";
import { pannier, rclone, RCLONE_TUNED } from "./tools.ts";

const BLOBS = 5000;
const CONTAINER = "bench";

export async function azureFirst(): Promise<string> {
  const running = await startServers(["azure"]);
  try {
    const { azure, missing } = running.servers;
    if (azure === undefined) throw new Error(missing["azure"]);
    const { account, key, endpoint } = azure;
    const client = sdkClient(azure);
    await client.createBucket(CONTAINER);
    await putAll(smallFiles(BLOBS, 50), (name, content) => client.put(CONTAINER, name, content));
    const source = `az://${account}/${CONTAINER}/?endpoint=${encodeURIComponent(endpoint)}`;
    const peer = (name: string, flags: readonly string[]): Tool => ({
      name,
      command: (target) =>
        rclone(["sync", `azure:${CONTAINER}`, target, ...flags], {
          RCLONE_CONFIG_AZURE_TYPE: "azureblob",
          // Understood since 1.62; older ones would take an endpoint for the end of a host's name.
          RCLONE_CONFIG_AZURE_CONNECTION_STRING: `AccountName=${account};AccountKey=${key};BlobEndpoint=${endpoint}`,
        }),
    });
    return await firstSyncs({
      ours: [
        {
          name: "pannier",
          command: (target) => ({
            ...pannier("sync", source, target),
            env: { AZURE_STORAGE_KEY: key },
          }),
        },
      ],
      peers: [peer("rclone", []), peer("rclone tuned", RCLONE_TUNED)],
      files: BLOBS,
    });
  } finally {
    await running.stop();
  }
}
