import { sourceFactory } from "@pannier/core/adapter";
import { ociAdapter } from "./adapter.ts";

export { ociAdapter } from "./adapter.ts";

/**
 * An image or artifact, for use as a library.
 *
 * @example oci("oci://registry.example.com/team/site:live")
 */
export const oci = sourceFactory(ociAdapter);
