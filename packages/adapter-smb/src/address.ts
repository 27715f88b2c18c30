/** From the URL of a source to those that libsmbclient is asked for. */
import { decodedPath, type Location, UsageError } from "@pannier/core/adapter";

export interface Address {
  readonly host: string;
  /** The share's name. */
  readonly share: string;
  /** `smb://host:port/share`, as libsmbclient takes it. */
  readonly url: string;
  /** The source's path below the share, not encoded, with a `/` at its beginning and none at its end; empty for the share itself. */
  readonly path: string;
}

/** @throws UsageError where a host or a share is missing */
export function addressOf(location: Location): Address {
  if (location.host === "") {
    throw new UsageError("an smb source needs a host", "write smb://host/share/path");
  }
  const [share, ...segments] = decodedPath(location)
    .split("/")
    .filter((segment) => segment !== "");
  if (share === undefined) {
    throw new UsageError("an smb source needs a share", "write smb://host/share/path");
  }
  const odd = [share, ...segments].find((segment) => segment.includes("\\"));
  if (odd !== undefined) {
    throw new UsageError('the source has a "\\" in its path', 'write "/" between its parts');
  }
  const host = location.host.replace(/^\[|\]$/g, "");
  // Encoded, also the colons of an address of IPv6: libsmbclient looks for a port after the first.
  const server = `${encodeURIComponent(host)}:${location.port ?? 445}`;
  return {
    host,
    share,
    url: `smb://${server}/${encodeURIComponent(share)}`,
    path: segments.map((segment) => `/${segment}`).join(""),
  };
}

/** A path as requests have it. */
export function encodePath(path: string): string {
  return path.split("/").map(encodeURIComponent).join("/");
}
