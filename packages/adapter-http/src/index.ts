import { sourceFactory } from "@pannier/core/adapter";
import { httpAdapter } from "./adapter.ts";

export { httpAdapter } from "./adapter.ts";

/**
 * A source served over HTTP, for use as a library.
 *
 * @example http("https://host/site.tar.gz", { strip: 1 })
 */
export const http = sourceFactory(httpAdapter);
