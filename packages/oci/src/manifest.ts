/** Manifests of images and artifacts: the image specification's, and Docker's before it. */
import { SourceError } from "@pannier/core/adapter";
import { DIGEST } from "./reference.ts";

export const MEDIA = {
  index: "application/vnd.oci.image.index.v1+json",
  manifest: "application/vnd.oci.image.manifest.v1+json",
  config: "application/vnd.oci.image.config.v1+json",
  empty: "application/vnd.oci.empty.v1+json",
  dockerIndex: "application/vnd.docker.distribution.manifest.list.v2+json",
  dockerManifest: "application/vnd.docker.distribution.manifest.v2+json",
} as const;

/** What a request for a manifest accepts. */
export const ACCEPT = [MEDIA.index, MEDIA.manifest, MEDIA.dockerIndex, MEDIA.dockerManifest].join(
  ", ",
);

/** Bytes of a manifest at most: what registries are told to take (distribution specification). */
export const MAX_MANIFEST = 4 << 20;
const MAX_LAYERS = 1000;

export interface Descriptor {
  readonly mediaType: string;
  readonly digest: string;
  readonly size: number;
  /** Of a manifest that is no image: what it is. */
  readonly artifactType?: string | undefined;
  readonly annotations: Readonly<Record<string, string>>;
}

export interface Platform {
  readonly os: string;
  readonly architecture: string;
  readonly variant: string | undefined;
}

export type Manifest =
  | {
      readonly kind: "index";
      readonly manifests: readonly (Descriptor & { readonly platform: Platform | undefined })[];
    }
  | {
      readonly kind: "image";
      readonly config: Descriptor;
      readonly layers: readonly Descriptor[];
      readonly annotations: Readonly<Record<string, string>>;
    };

type Json = Readonly<Record<string, unknown>>;

/**
 * @param most parts that it may list
 * @throws SourceError `invalid` where it is no manifest, `unsupported` where it is one of a kind that is not known
 */
export function parseManifest(bytes: Uint8Array, most = MAX_LAYERS): Manifest {
  let json: unknown;
  try {
    json = JSON.parse(new TextDecoder("utf-8", { fatal: true }).decode(bytes));
  } catch (error) {
    throw broken("it is not JSON", error);
  }
  if (!isObject(json)) throw broken("it is not an object");
  if (json["schemaVersion"] === 1) {
    throw new SourceError("unsupported", "the manifest is of Docker's first schema", {
      hint: "push it again with a program of the last years",
    });
  }
  const manifests = json["manifests"];
  const layers = json["layers"];
  if (Array.isArray(manifests) && layers === undefined) {
    return {
      kind: "index",
      manifests: bounded(manifests, most).map((item) => ({
        ...descriptorOf(item),
        platform: platformOf((item as Json)["platform"]),
      })),
    };
  }
  if (!Array.isArray(layers) || manifests !== undefined) {
    throw broken("it has neither layers nor manifests, or both");
  }
  return {
    kind: "image",
    config: descriptorOf(json["config"]),
    layers: bounded(layers, most).map(descriptorOf),
    annotations: annotationsOf(json["annotations"]),
  };
}

function bounded(items: readonly unknown[], most: number): readonly unknown[] {
  if (items.length > most) throw broken(`it lists more than ${most} parts`);
  return items;
}

function descriptorOf(value: unknown): Descriptor {
  if (!isObject(value)) throw broken("a descriptor is not an object");
  const { mediaType, digest, size, artifactType } = value;
  if (typeof digest !== "string" || !DIGEST.test(digest)) {
    throw broken("a digest is not sha256: and 64 hexadecimal digits");
  }
  if (!Number.isSafeInteger(size) || (size as number) < 0) throw broken("a size is not valid");
  return {
    mediaType: typeof mediaType === "string" ? mediaType : "",
    digest,
    size: size as number,
    ...(typeof artifactType === "string" ? { artifactType } : {}),
    annotations: annotationsOf(value["annotations"]),
  };
}

function annotationsOf(value: unknown): Readonly<Record<string, string>> {
  if (!isObject(value)) return {};
  return Object.fromEntries(
    Object.entries(value).filter((pair): pair is [string, string] => typeof pair[1] === "string"),
  );
}

function platformOf(value: unknown): Platform | undefined {
  if (!isObject(value)) return undefined;
  const { os, architecture, variant } = value;
  if (typeof os !== "string" || typeof architecture !== "string") return undefined;
  return { os, architecture, variant: typeof variant === "string" ? variant : undefined };
}

function isObject(value: unknown): value is Json {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

function broken(why: string, cause?: unknown): SourceError {
  return new SourceError("invalid", `the manifest is not valid: ${why}`, { cause });
}
