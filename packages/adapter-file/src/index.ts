import { sourceFactory } from "@pannier/core/adapter";
import { fileAdapter } from "./adapter.ts";

export { fileAdapter };

/** A directory or file of this machine as a source: `file("/srv/content")`. */
export const file = sourceFactory(fileAdapter);
