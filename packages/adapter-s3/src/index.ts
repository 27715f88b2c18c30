import { sourceFactory } from "@pannier/core/adapter";
import { s3Adapter } from "./adapter.ts";

export { s3Adapter } from "./adapter.ts";

/**
 * A bucket of Amazon S3 or of a server with the S3 API, or a prefix in one, for use as a library.
 *
 * @example s3("s3://bucket/site/", { region: "eu-central-1" })
 */
export const s3 = sourceFactory(s3Adapter);
