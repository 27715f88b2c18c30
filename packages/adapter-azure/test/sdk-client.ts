/** Writes by the SDK, which the adapter never does. */
import {
  BlobServiceClient,
  ContainerSASPermissions,
  generateBlobSASQueryParameters,
  StorageSharedKeyCredential,
} from "@azure/storage-blob";
import type { BlobStores } from "./stores.ts";

export function sdkClient(server: {
  readonly endpoint: string;
  readonly port: number;
  readonly account: string;
  readonly key: string;
}): BlobStores {
  const { endpoint, port, account, key } = server;
  const client = new BlobServiceClient(endpoint, new StorageSharedKeyCredential(account, key));
  const blob = (container: string, name: string) =>
    client.getContainerClient(container).getBlockBlobClient(name);
  return {
    port,
    account,
    createBucket: async (container) => void (await client.createContainer(container)),
    put: async (container, name, content) =>
      void (await blob(container, name).upload(content, content.byteLength)),
    remove: async (container, name) => void (await blob(container, name).deleteIfExists()),
  };
}

/** A signature for one container that is good for an hour. */
export function sasFor(
  { account, key }: { readonly account: string; readonly key: string },
  containerName: string,
  permissions: string,
): string {
  return generateBlobSASQueryParameters(
    {
      containerName,
      permissions: ContainerSASPermissions.parse(permissions),
      expiresOn: new Date(Date.now() + 3_600_000),
    },
    new StorageSharedKeyCredential(account, key),
  ).toString();
}
