import { sourceFactory } from "@pannier/core/adapter";
import { smbAdapter } from "./adapter.ts";

export { smbAdapter } from "./adapter.ts";

/**
 * A directory or file of an SMB share, for use as a library.
 *
 * @example smb("smb://user@host/share/site/", { encrypt: "required" })
 */
export const smb = sourceFactory(smbAdapter);
