import { sourceFactory } from "@pannier/core/adapter";
import { ftpAdapter } from "./adapter.ts";

export { ftpAdapter } from "./adapter.ts";

/**
 * A directory or file of an FTP server, for use as a library.
 *
 * @example ftp("ftp://host/pub/site/", { tls: "explicit" })
 */
export const ftp = sourceFactory(ftpAdapter);
