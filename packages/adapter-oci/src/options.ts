/** Options in the URL's query, and what is made of them. */
import { type OptionSpecs, UsageError } from "@pannier/core/adapter";
import type { Platform } from "@pannier/oci";

export const ociOptions = {
  path: {
    type: "string",
    description: "directory in the image that becomes the root",
    placeholder: "DIR",
  },
  semver: {
    type: "string",
    description: "follow the highest tag in this range of versions",
    placeholder: "RANGE",
  },
  platform: {
    type: "string",
    description: "platform of the image to use from an index; default: that of this machine",
    placeholder: "OS/ARCHITECTURE[/VARIANT]",
  },
} as const satisfies OptionSpecs;

/** The options, checked and taken apart. */
export interface OciSettings {
  /** Without a `/` at either end; empty for all of it. */
  readonly path: string;
  readonly semver: string | undefined;
  readonly platform: Platform;
  /** Whether the user chose the platform. */
  readonly chosen: boolean;
}

/** Node's names of architectures, in those of Go, which registries use. */
const ARCHITECTURES: Readonly<Record<string, string>> = { x64: "amd64", ia32: "386" };

/** @throws UsageError on a `path` or `platform` that cannot be one */
export function checkOptions(values: {
  path: string | undefined;
  semver: string | undefined;
  platform: string | undefined;
}): OciSettings {
  const segments = (values.path ?? "")
    .split("/")
    .filter((segment) => segment !== "" && segment !== ".");
  if (segments.includes("..")) throw new UsageError('option "path" must not hold ".."');
  const { platform } = values;
  const [, os = "linux", architecture, variant] =
    /^([a-z0-9]+)\/([a-z0-9_]+)(?:\/([a-z0-9.]+))?$/.exec(platform ?? "") ?? [];
  if (platform !== undefined && architecture === undefined) {
    throw new UsageError(
      `${JSON.stringify(platform)} is not a valid platform`,
      "write for example platform=linux/arm64",
    );
  }
  return {
    path: segments.join("/"),
    semver: values.semver,
    platform: {
      os,
      architecture: architecture ?? ARCHITECTURES[process.arch] ?? process.arch,
      variant,
    },
    chosen: platform !== undefined,
  };
}
