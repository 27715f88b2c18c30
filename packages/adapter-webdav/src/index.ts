import { sourceFactory } from "@pannier/core/adapter";
import { webdavAdapter } from "./adapter.ts";

export { webdavAdapter } from "./adapter.ts";

/**
 * A collection or file of a WebDAV server, for use as a library.
 *
 * @example webdav("davs://host/remote.php/dav/files/user/site/")
 */
export const webdav = sourceFactory(webdavAdapter);
