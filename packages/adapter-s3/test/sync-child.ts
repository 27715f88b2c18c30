/** A process that syncs a bucket to the directory that its argument names. */
import { sync } from "@pannier/core";
import { s3 } from "../src/index.ts";

await sync({ sources: [s3("s3://bucket/")], target: process.argv[2] as string });
