/** Writes to a real server of S3 by AWS's own SDK, which the adapter never does. */
import { Agent } from "node:http";
import {
  CreateBucketCommand,
  DeleteObjectCommand,
  PutObjectCommand,
  S3Client,
} from "@aws-sdk/client-s3";
import type { ObjectServer } from "../../../test/support/stores.ts";

export function sdkServer(
  port: number,
  keys: { readonly id: string; readonly secret: string },
): ObjectServer {
  const client = new S3Client({
    endpoint: `http://127.0.0.1:${port}`,
    region: "us-east-1",
    forcePathStyle: true,
    // The suite counts what is left open.
    requestHandler: { httpAgent: new Agent({ keepAlive: false }) },
    credentials: { accessKeyId: keys.id, secretAccessKey: keys.secret },
  });
  return {
    port,
    createBucket: async (Bucket) => void (await client.send(new CreateBucketCommand({ Bucket }))),
    put: async (Bucket, Key, Body) =>
      void (await client.send(new PutObjectCommand({ Bucket, Key, Body }))),
    remove: async (Bucket, Key) =>
      void (await client.send(new DeleteObjectCommand({ Bucket, Key }))),
  };
}
