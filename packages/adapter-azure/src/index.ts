import { sourceFactory } from "@pannier/core/adapter";
import { azureAdapter } from "./adapter.ts";

export { azureAdapter } from "./adapter.ts";

/**
 * A container of Azure Blob Storage, or a prefix in one, for use as a library.
 *
 * @example azure("az://account/container/site/")
 */
export const azure = sourceFactory(azureAdapter);
