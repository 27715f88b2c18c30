/** From a manifest to the layers of content that it names. */
import { SourceError } from "@pannier/core/adapter";
import {
  type Descriptor,
  type ImageStore,
  MEDIA,
  parseManifest,
  type Platform,
} from "@pannier/oci";
import type { OciSettings } from "./options.ts";

/** A blob that holds content. */
export interface Layer {
  /** Names it in the table and in entries: its digest in hex; with the title behind it where it is a file. */
  readonly key: string;
  readonly blob: Descriptor;
  /** Where the blob is itself a file: its path. */
  readonly title: string | undefined;
  /** Whether names in it can take away what layers under it have. */
  readonly whiteouts: boolean;
}

const TITLE = "org.opencontainers.image.title";
/** Of a directory that ORAS packed. */
const UNPACK = "io.deis.oras.content.unpack";
const TAR = /[./+-]tar(?:[.+](?:gzip|zstd|xz))?$/;
const IMAGE_LAYER = /^application\/vnd\.(?:oci\.image\.layer\.|docker\.image\.rootfs\.)/;
/** A signature of a Helm chart, beside the chart. */
const PROVENANCE = "application/vnd.cncf.helm.chart.provenance.v1.prov";

/** Reads the manifest of an image, by way of an index where there is one. */
export async function readImage(
  store: ImageStore,
  reference: string,
  settings: OciSettings,
  signal: AbortSignal,
): Promise<{ readonly digest: string; readonly layers: readonly Layer[] }> {
  const { bytes, digest } = await store.manifest(reference, "list", signal);
  let manifest = parseManifest(bytes);
  if (manifest.kind === "index") {
    const chosen = choose(manifest.manifests, settings);
    const inner = await store.manifest(chosen.digest, "list", signal);
    manifest = parseManifest(inner.bytes);
  }
  if (manifest.kind === "index") {
    throw new SourceError("unsupported", "an index of indexes is not supported", {
      hint: "name the image by its own digest",
    });
  }
  return { digest, layers: manifest.layers.flatMap(layerOf) };
}

function choose(
  manifests: readonly (Descriptor & { readonly platform: Platform | undefined })[],
  { platform, chosen }: OciSettings,
): Descriptor {
  // What build tools attest of the others.
  const images = manifests.filter((item) => item.platform?.os !== "unknown");
  const [only] = images;
  if (images.length === 1 && only !== undefined && (!chosen || only.platform === undefined)) {
    return only;
  }
  const found = images.find(
    (item) =>
      item.platform?.os === platform.os &&
      item.platform.architecture === platform.architecture &&
      (platform.variant === undefined || item.platform.variant === platform.variant),
  );
  if (found !== undefined) return found;
  const there = images.flatMap((item) =>
    item.platform === undefined ? [] : [nameOf(item.platform)],
  );
  throw new SourceError("not-found", `there is no image for ${nameOf(platform)}`, {
    hint: `choose one with platform=: ${there.slice(0, 20).join(", ") || "there is none"}`,
  });
}

function nameOf({ os, architecture, variant }: Platform): string {
  return [os, architecture, ...(variant === undefined ? [] : [variant])].join("/");
}

function layerOf(blob: Descriptor): Layer[] {
  const { mediaType, digest, annotations } = blob;
  if (mediaType === MEDIA.empty || mediaType === PROVENANCE) return [];
  const key = digest.slice("sha256:".length);
  const title = annotations[TITLE];
  if (title !== undefined && annotations[UNPACK] !== "true") {
    return [{ key: `${key}/${title}`, blob, title, whiteouts: false }];
  }
  if (!TAR.test(mediaType)) {
    throw new SourceError(
      "unsupported",
      `a layer is of type ${JSON.stringify(mediaType.slice(0, 200))}, which is neither a tar archive nor a file with a title`,
    );
  }
  const whiteouts = title === undefined && IMAGE_LAYER.test(mediaType);
  return [{ key, blob, title: undefined, whiteouts }];
}
