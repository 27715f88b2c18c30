import { sourceFactory } from "@pannier/core/adapter";
import { hfAdapter } from "./adapter.ts";

export { hfAdapter } from "./adapter.ts";

/**
 * A repository of the Hugging Face Hub, or a directory or file of it, for use as a library.
 *
 * @example hf("hf://org/model@main")
 */
export const hf = sourceFactory(hfAdapter);
