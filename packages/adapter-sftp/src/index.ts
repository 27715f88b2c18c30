import { sourceFactory } from "@pannier/core/adapter";
import { sftpAdapter } from "./adapter.ts";

export { sftpAdapter } from "./adapter.ts";

/**
 * A directory or file of an SSH server, for use as a library.
 *
 * @example sftp("sftp://user@host/srv/site/", { hostKey: "SHA256:…" })
 */
export const sftp = sourceFactory(sftpAdapter);
