/** Images that have to be signed by cosign; packages/signatures/test has what cosign itself made. */
import { generateKeyPairSync, sign } from "node:crypto";
import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { history, status, sync } from "@pannier/core";
import { digestOf, MEDIA } from "@pannier/oci";
import { openSigningKey, signImage } from "@pannier/signatures/sign";
import { beforeAll, expect, onTestFinished, test } from "vitest";
import {
  openRegistry,
  type RegistryOptions,
  type TestRegistry,
} from "../../../test/support/registry.ts";
import { oci } from "../src/index.ts";
import { gzipLayer, putImage } from "./images.ts";

const BUNDLE = "application/vnd.dev.sigstore.bundle.v0.3+json";
const SIMPLE = "application/vnd.dev.cosign.simplesigning.v1+json";

interface Key {
  readonly file: string;
  bundle(digest: string): Buffer;
  sign(bytes: Uint8Array): string;
}

let ada: Key;
let eve: Key;

beforeAll(async () => {
  const folders = [await newFolder(), await newFolder()] as const;
  [ada, eve] = [await makeKey(folders[0]), await makeKey(folders[1])];
  return () => Promise.all(folders.map((path) => rm(path, { recursive: true })));
});

const newFolder = () => mkdtemp(join(tmpdir(), "pannier-cosign-"));

async function makeKey(folder: string): Promise<Key> {
  const { publicKey, privateKey } = generateKeyPairSync("ec", { namedCurve: "P-256" });
  const [file, secret] = [join(folder, "cosign.pub"), join(folder, "cosign.key")];
  await writeFile(file, publicKey.export({ type: "spki", format: "pem" }));
  await writeFile(secret, privateKey.export({ type: "pkcs8", format: "pem" }));
  const key = await openSigningKey(secret);
  return {
    file,
    bundle: (digest) => signImage(key, digest),
    sign: (bytes) => sign("sha256", bytes, privateKey).toString("base64"),
  };
}

async function setup(options: RegistryOptions = {}) {
  const registry = await openRegistry(options);
  const work = await mkdtemp(join(tmpdir(), "pannier-signed-"));
  onTestFinished(async () => {
    await registry.close();
    await rm(work, { recursive: true, force: true });
  });
  const url = `oci+http://127.0.0.1:${registry.port}/team/site:live`;
  const target = join(work, "target");
  return {
    registry,
    url,
    target,
    push: async (content: string) => putImage(url, [await gzipLayer([{ name: "a", content }])]),
    sync: (own = url) =>
      sync({ sources: [oci(own)], target, signedBy: [`cosign-key:${ada.file}`] }),
    read: () => readFile(join(target, "current/a"), "utf8"),
    signature: () => status(target)?.sources[0]?.signature,
  };
}

/** Puts a manifest of one blob. @returns its descriptor */
function putManifest(
  { blobs, manifests }: TestRegistry,
  name: string | undefined,
  blob: Buffer,
  mediaType: string,
  annotations: Record<string, string> = {},
) {
  const digest = digestOf(blob);
  blobs.set(digest, blob);
  const bytes = Buffer.from(
    JSON.stringify({
      schemaVersion: 2,
      mediaType: MEDIA.manifest,
      config: { mediaType: MEDIA.empty, digest: digestOf(Buffer.from("{}")), size: 2 },
      layers: [{ mediaType, digest, size: blob.byteLength, annotations }],
    }),
  );
  const own = digestOf(bytes);
  for (const each of [own, ...(name === undefined ? [] : [name])])
    manifests.set(`team/site/${each}`, { bytes, type: MEDIA.manifest });
  return { mediaType: MEDIA.manifest, digest: own, size: bytes.byteLength, artifactType: BUNDLE };
}

const indexOf = (manifests: readonly object[]) => ({
  bytes: Buffer.from(JSON.stringify({ schemaVersion: 2, mediaType: MEDIA.index, manifests })),
  type: MEDIA.index,
});

/** As cosign does where the registry lists no referrers. */
function attach(registry: TestRegistry, digest: string, bundles: readonly Buffer[]) {
  const all = bundles.map((bundle) => putManifest(registry, undefined, bundle, BUNDLE));
  registry.manifests.set(`team/site/${digest.replace(":", "-")}`, indexOf(all));
}

function attachSimple(registry: TestRegistry, digest: string, payload: Buffer, sig: string) {
  putManifest(registry, `${digest.replace(":", "-")}.sig`, payload, SIMPLE, {
    "dev.cosignproject.cosign/signature": sig,
  });
}

const payloadOf = (digest: string) =>
  Buffer.from(
    JSON.stringify({
      critical: {
        identity: { "docker-reference": "127.0.0.1/team/site" },
        image: { "docker-manifest-digest": digest },
        type: "cosign container image signature",
      },
      optional: null,
    }),
  );

const refused = { exitCode: 6, message: expect.stringContaining("is not signed by one who is") };

test("an image is published as it was signed; a newer one that is not stays away", async () => {
  const { registry, push, sync: run, read, signature, target } = await setup();
  const first = await push("1");
  await expect(run()).rejects.toMatchObject(refused);
  // Nothing of its layers was even looked at.
  expect(registry.requests.filter((line) => line.includes("/blobs/"))).toEqual(
    registry.requests.filter((line) => /^(POST|PUT|HEAD) /.test(line) && line.includes("/blobs/")),
  );
  attach(registry, first, [eve.bundle(first), ada.bundle(first)]);
  expect(await run()).toMatchObject({ result: "published" });
  expect(signature()).toMatchObject({ kind: "cosign-key", of: "image" });
  expect(await run()).toMatchObject({ result: "unchanged" });

  const second = await push("2");
  await expect(run()).rejects.toMatchObject(refused);
  expect(await read()).toBe("1");
  attach(registry, second, [ada.bundle(second)]);
  expect(await run()).toMatchObject({ result: "published", changed: 1 });
  expect(history(target).map(({ sources }) => sources[0]?.signature?.of)).toEqual([
    "image",
    "image",
  ]);
});

test("a signature that was moved over to another image, changed, cut, or another's", async () => {
  const { registry, push, sync: run } = await setup();
  const signed = await push("1");
  const digest = await push("evil");
  const good = ada.bundle(signed);
  const json = JSON.parse(good.toString()) as {
    dsseEnvelope: { payload: string; signatures: unknown };
  };
  const own = JSON.parse(ada.bundle(digest).toString()) as typeof json;
  const attacks = [
    [good],
    [eve.bundle(digest)],
    [good.subarray(0, -30)],
    [
      Buffer.from(
        JSON.stringify({
          ...json,
          dsseEnvelope: { ...json.dsseEnvelope, payload: own.dsseEnvelope.payload },
        }),
      ),
    ],
    [Buffer.from("{}")],
    [],
  ];
  for (const bundles of attacks) {
    attach(registry, digest, bundles);
    await expect(run()).rejects.toMatchObject(refused);
  }
  attachSimple(registry, digest, payloadOf(signed), ada.sign(payloadOf(signed)));
  await expect(run()).rejects.toMatchObject(refused);
  attachSimple(registry, digest, payloadOf(digest), ada.sign(payloadOf(signed)));
  await expect(run()).rejects.toMatchObject(refused);
  attachSimple(registry, digest, payloadOf(digest), eve.sign(payloadOf(digest)));
  await expect(run()).rejects.toMatchObject(refused);
});

test("by simple signing, the form of older versions", async () => {
  const { registry, push, sync: run, signature } = await setup();
  const digest = await push("1");
  attachSimple(registry, digest, payloadOf(digest), ada.sign(payloadOf(digest)));
  expect(await run()).toMatchObject({ result: "published" });
  expect(signature()).toMatchObject({ of: "image" });
});

test("by the registry's own list of referrers", async () => {
  let listed = indexOf([]).bytes;
  const {
    registry,
    push,
    sync: run,
  } = await setup({
    before({ url = "" }, response) {
      if (!url.includes("/referrers/")) return false;
      response.writeHead(200, { "content-type": MEDIA.index }).end(listed);
      return true;
    },
  });
  const digest = await push("1");
  await expect(run()).rejects.toMatchObject(refused);
  listed = indexOf([putManifest(registry, undefined, ada.bundle(digest), BUNDLE)]).bytes;
  expect(await run()).toMatchObject({ result: "published" });
});

test("a manifest that is another's: what the tag names is not what was signed", async () => {
  const { registry, push, sync: run, url } = await setup();
  const signed = await push("1");
  attach(registry, signed, [ada.bundle(signed)]);
  await push("evil");
  const evil = registry.manifests.get("team/site/live");
  if (evil === undefined) throw new Error("not pushed");
  // By its digest, too: the registry lies about what it holds.
  registry.manifests.set(`team/site/${signed}`, evil);
  await expect(run()).rejects.toMatchObject(refused);
  await expect(run(url.replace(/:live$/, `@${signed}`))).rejects.toMatchObject({
    exitCode: 6,
    message: expect.stringContaining("it is another's"),
  });
});

test("an index is signed as a whole, for all its platforms", async () => {
  const { registry, push, sync: run, signature } = await setup();
  const digest = await push("1");
  const size = registry.manifests.get(`team/site/${digest}`)?.bytes.byteLength;
  const index = indexOf([{ mediaType: MEDIA.manifest, digest, size }]);
  registry.manifests.set("team/site/live", index);
  attach(registry, digest, [ada.bundle(digest)]);
  await expect(run()).rejects.toMatchObject(refused);
  const whole = digestOf(index.bytes);
  attach(registry, whole, [ada.bundle(whole)]);
  expect(await run()).toMatchObject({ result: "published", revision: whole.slice(7) });
  expect(signature()).toBeDefined();
});
