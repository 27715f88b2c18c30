/** Names of images and artifacts: `registry/repository:tag@digest`, as in the distribution specification. */
import { decodedPath, type Location, UsageError } from "@pannier/core/adapter";

/** What a URL names. */
export interface Reference {
  /** For a registry the repository's name; for a layout its directory. */
  readonly repository: string;
  /** `latest` where neither a tag nor a digest is given. */
  readonly tag: string;
  /** `sha256:HEX`: it decides, where both are given. */
  readonly digest: string | undefined;
  /** Whether a tag was written. */
  readonly tagged: boolean;
}

/** Schemes that are reached without another adapter: registries, and layouts in a directory and on a web server. */
export const SCHEMES: readonly string[] = ["oci", "oci+http", "oci+https", "oci+file"];

export const DIGEST = /^sha256:[0-9a-f]{64}$/;
const TAG = /^\w[\w.-]{0,127}$/;
const REPOSITORY =
  /^[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*(?:\/[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*)*$/;

/** Takes a URL's path apart. @throws UsageError where it is no such name */
export function referenceOf(location: Location): Reference {
  const { scheme } = location;
  const isLayout = scheme !== "oci" && scheme !== "oci+http";
  const path = decodedPath(location);
  const [, name = "", tag, digest] = /^(.*?)(?::([^/:@]*))?(?:@([^/@]*))?$/s.exec(path) ?? [];
  const example = !isLayout
    ? "oci://registry/repository:tag"
    : scheme === "oci+file"
      ? "oci+file:///dir:tag"
      : SCHEMES.includes(scheme)
        ? "oci+https://host/dir:tag"
        : `${scheme}://${location.host}/dir:tag`;
  if (tag !== undefined && !TAG.test(tag)) {
    throw new UsageError(`${JSON.stringify(tag)} is not a valid tag`, `write ${example}`);
  }
  if (digest !== undefined && !DIGEST.test(digest)) {
    throw new UsageError(
      `${JSON.stringify(digest)} is not a valid digest`,
      "write @sha256: and 64 hexadecimal digits",
    );
  }
  const repository = isLayout ? name : name.replace(/^\//, "");
  if (isLayout ? repository === "/" : !REPOSITORY.test(repository) || location.host === "") {
    throw new UsageError(
      isLayout
        ? "an image layout needs a directory"
        : `${JSON.stringify(repository)} is not a valid name of a repository`,
      `write ${example}${isLayout ? "" : ", in lower case"}`,
    );
  }
  return { repository, tag: tag ?? "latest", digest, tagged: tag !== undefined };
}

/** Of a layout: its directory as it stands in URLs, percent-encoded, with a `/` at its end. */
export function directoryOf({ repository }: Reference): string {
  return repository.split("/").map(encodeURIComponent).join("/").replace(/\/*$/, "/");
}
