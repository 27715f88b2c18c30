import { sourceFactory } from "@pannier/core/adapter";
import { nfsAdapter } from "./adapter.ts";

export { nfsAdapter } from "./adapter.ts";

/**
 * A directory or file of an NFS server, for use as a library.
 *
 * @example nfs("nfs://host/export/site/", { uid: 1000, gid: 1000 })
 */
export const nfs = sourceFactory(nfsAdapter);
