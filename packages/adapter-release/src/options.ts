/** Options in the URL's query, and what is made of them. */
import { type OptionSpecs, UsageError } from "@pannier/core/adapter";
import { archiveOptions } from "@pannier/http-content";

export const releaseOptions = {
  asset: {
    type: "string",
    description: "name of the asset; * and ? stand for any characters; default: the only one",
    placeholder: "NAME",
  },
  tag: {
    type: "string",
    description: "tag of the release; default: the latest release",
    placeholder: "TAG",
  },
  semver: {
    type: "string",
    description: "follow the highest release in this range of versions",
    placeholder: "RANGE",
  },
  unpack: {
    type: "enum",
    values: ["auto", "yes", "no"],
    default: "auto",
    description:
      "yes: unpack an archive; no: publish all matching assets as files; auto: by the asset's name",
  },
  ...archiveOptions,
  path: {
    type: "string",
    description: "directory in the archive that becomes the root",
    placeholder: "DIR",
  },
  api: {
    type: "enum",
    values: ["auto", "github", "gitlab", "gitea"],
    default: "auto",
    description: "kind of the server; gitea: also Forgejo; auto: by the name of the host",
  },
} as const satisfies OptionSpecs;

/** The options, checked and taken apart. */
export interface ReleaseSettings {
  readonly asset: string | undefined;
  readonly tag: string | undefined;
  readonly semver: string | undefined;
  readonly unpack: "auto" | "yes" | "no";
  readonly strip: number;
  /** Segments; empty for the root. */
  readonly path: readonly string[];
  readonly api: "auto" | "github" | "gitlab" | "gitea";
}

/** @throws UsageError on options that exclude each other, and a `path` that cannot be one */
export function checkOptions(values: {
  asset: string | undefined;
  tag: string | undefined;
  semver: string | undefined;
  unpack: string;
  strip: number;
  path: string | undefined;
  api: string;
}): ReleaseSettings {
  const { asset, tag, semver, strip } = values;
  for (const [name, value] of Object.entries({ asset, tag, semver })) {
    if (value === "") throw new UsageError(`option "${name}" is empty`);
  }
  if (tag !== undefined && semver !== undefined) {
    throw new UsageError('options "tag" and "semver" exclude each other');
  }
  const path = (values.path ?? "")
    .split("/")
    .filter((segment) => segment !== "" && segment !== ".");
  if (path.includes("..")) throw new UsageError('option "path" must not hold ".."');
  const unpack = values.unpack as ReleaseSettings["unpack"];
  if (unpack === "no" && (strip > 0 || path.length > 0)) {
    throw new UsageError('options "strip" and "path" are for archives', "leave out unpack=no");
  }
  return { asset, tag, semver, unpack, strip, path, api: values.api as ReleaseSettings["api"] };
}
