/** Options in the URL's query, and what they are made of. */
import { type OptionSpecs, UsageError } from "@pannier/core/adapter";
import { archiveOptions, type ChecksumOption, parseChecksum } from "@pannier/http-content";

export const httpOptions = {
  unpack: {
    type: "enum",
    values: ["auto", "yes", "no"],
    default: "auto",
    description:
      "yes: unpack an archive; no: publish one file; auto: by the name, or by the content if the name has no extension",
  },
  ...archiveOptions,
  path: {
    type: "string",
    description: "directory in the archive or below the URL that becomes the root",
    placeholder: "DIR",
  },
  checksum: {
    type: "string",
    description:
      "checksum of the file, the archive or the manifest, or the URL of a file with the checksum",
    placeholder: "sha256:HEX|URL",
  },
  manifest: {
    type: "string",
    default: "auto",
    description:
      "name of a directory's manifest; auto: SHA256SUMS, else pannier-manifest.json, else the server's index; none: the index",
    placeholder: "auto|none|NAME",
  },
} as const satisfies OptionSpecs;

/** The options, checked and taken apart. */
export interface HttpSettings {
  readonly unpack: "auto" | "yes" | "no";
  readonly strip: number;
  /** Segments; empty for the root. */
  readonly path: readonly string[];
  readonly checksum: ChecksumOption | undefined;
  readonly manifest: string;
}

/** @throws UsageError on a `path`, `checksum` or `manifest` that cannot be one */
export function checkOptions(values: {
  unpack: string;
  strip: number;
  path: string | undefined;
  checksum: string | undefined;
  manifest: string;
}): HttpSettings {
  const path = (values.path ?? "")
    .split("/")
    .filter((segment) => segment !== "" && segment !== ".");
  if (path.includes("..")) throw new UsageError('option "path" must not hold ".."');
  if (values.manifest === "" || values.manifest.includes("/") || values.manifest === "..") {
    throw new UsageError('option "manifest" must be the name of a file in the directory');
  }
  return {
    unpack: values.unpack as HttpSettings["unpack"],
    strip: values.strip,
    path,
    checksum: values.checksum === undefined ? undefined : parseChecksum(values.checksum),
    manifest: values.manifest,
  };
}
