/** Makes images as others do, and puts them into a registry or a layout. */
import { buffer } from "node:stream/consumers";
import { gzipSync } from "node:zlib";
import type { StoreFile } from "@pannier/adapter-kit";
import { parseLocation } from "@pannier/core";
import { digestOf, type ImageStore, MEDIA, openStore, referenceOf } from "@pannier/oci";
import { type Header, pack } from "tar-stream";

export type TarMember = Partial<Header> & { name: string; content?: string | Uint8Array };

const never = new AbortController().signal;

async function makeTar(members: readonly TarMember[]): Promise<Buffer> {
  const archive = pack();
  const whole = buffer(archive);
  for (const { content, ...header } of members) {
    archive.entry({ mode: 0o644, ...header }, Buffer.from(content ?? ""));
  }
  archive.finalize();
  return whole;
}

export interface TestLayer {
  readonly bytes: Buffer;
  readonly mediaType?: string;
  readonly annotations?: Record<string, string>;
}

/** A layer of these members, as most programs write it. */
export async function gzipLayer(members: readonly TarMember[]): Promise<TestLayer> {
  return { bytes: gzipSync(await makeTar(members), { level: 1 }) };
}

function openForWriting(url: string): Promise<ImageStore> {
  const location = parseLocation(url);
  return openStore({
    location,
    reference: referenceOf(location),
    actions: "pull,push",
    credentials: {},
    env: {},
    idleTimeout: 30_000,
  });
}

/** Puts an image at a URL with a tag. @returns its digest */
export async function putImage(
  url: string,
  layers: readonly TestLayer[],
  extra: Record<string, unknown> = {},
): Promise<string> {
  const store = await openForWriting(url);
  const put = async (bytes: Buffer) => {
    const blob = { digest: digestOf(bytes), size: bytes.byteLength };
    await store.putBlob(blob, () => once(bytes), never);
    return blob;
  };
  const config = await put(Buffer.from("{}"));
  const described = [];
  for (const { bytes, mediaType, annotations } of layers) {
    described.push({
      mediaType: mediaType ?? "application/vnd.oci.image.layer.v1.tar+gzip",
      ...(await put(bytes)),
      ...(annotations === undefined ? {} : { annotations }),
    });
  }
  const bytes = Buffer.from(
    JSON.stringify({
      schemaVersion: 2,
      mediaType: MEDIA.manifest,
      config: { mediaType: MEDIA.config, ...config },
      layers: described,
      ...extra,
    }),
  );
  const { tag } = referenceOf(parseLocation(url));
  await store.putManifest(tag, { bytes, mediaType: MEDIA.manifest }, never);
  await store.close();
  return digestOf(bytes);
}

async function* once(bytes: Uint8Array): AsyncGenerator<Uint8Array> {
  yield bytes;
}

/** A store's files as members of an archive. */
export function membersOf(files: ReadonlyMap<string, StoreFile>, mtime: Date): TarMember[] {
  return [...files].map(([name, file]): TarMember => {
    return file.kind === "symlink"
      ? { name, mtime, type: "symlink", linkname: file.target }
      : { name, mtime, mode: file.mode ?? 0o644, content: file.content };
  });
}
