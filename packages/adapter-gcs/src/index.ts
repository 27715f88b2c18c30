import { sourceFactory } from "@pannier/core/adapter";
import { gcsAdapter } from "./adapter.ts";

export { gcsAdapter } from "./adapter.ts";

/**
 * A bucket of Google Cloud Storage, or a prefix in one, for use as a library.
 *
 * @example gcs("gs://bucket/site/", { userProject: "my-project" })
 */
export const gcs = sourceFactory(gcsAdapter);
