import { generateKeyPairSync, hash, type KeyObject, sign } from "node:crypto";
import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import type { Signer } from "@pannier/core/adapter";
import { expect, onTestFinished, test } from "vitest";
import { checkImageBundle, checkSimpleSigning, openFileChecks } from "../src/index.ts";
import { openSigningKey, signImage } from "../src/sign.ts";

const DIGEST = `sha256:${"a".repeat(64)}`;
const OTHER = `sha256:${"b".repeat(64)}`;

async function keyPair() {
  const { publicKey, privateKey } = generateKeyPairSync("ec", { namedCurve: "P-256" });
  const folder = await mkdtemp(join(tmpdir(), "pannier-cosign-"));
  onTestFinished(() => rm(folder, { recursive: true, force: true }));
  const [file, secret] = [join(folder, "cosign.pub"), join(folder, "cosign.key")];
  await writeFile(file, publicKey.export({ type: "spki", format: "pem" }));
  await writeFile(secret, privateKey.export({ type: "pkcs8", format: "pem" }));
  const signer: Signer = { kind: "cosign-key", text: `cosign-key:${file}`, trusted: { file } };
  return { signer, secret, key: privateKey };
}

/** What cosign itself made, see the README there. */
const made = (name: string) => fileURLToPath(new URL(`made-by-cosign/${name}`, import.meta.url));
const MADE_OF = "sha256:254cf5de9233e86bc8fe34039800bb0afa1b1f575b2366b6745fe06e6944d98e";

test("what cosign made is good, by its key", async () => {
  const file = made("cosign.pub");
  const signers: Signer[] = [{ kind: "cosign-key", text: "cosign-key:x", trusted: { file } }];
  const bundle = await readFile(made("image.sigstore.json"));
  expect(await checkImageBundle(bundle, MADE_OF, signers)).toMatchObject({ of: "image" });
  expect(await checkImageBundle(bundle, OTHER, signers)).toMatch(/of another image/);
  const checks = await openFileChecks(() => readFile(made("hello.txt.sigstore.json")), signers);
  checks.update(Buffer.from("hello\n"));
  expect(checks.finish()).toMatchObject({ of: "file" });
  // By --new-bundle-format=false.
  const payload = `{"critical":{"identity":{"docker-reference":"127.0.0.1:35005/site/live"},"image":{"docker-manifest-digest":"${MADE_OF}"},"type":"cosign container image signature"},"optional":null}`;
  const signature =
    "MEYCIQCwnPaKka5oh0ObkIpYk1+YOvV2oTw7TA+V0bGPrnnjFQIhAMUxs3DbfyMwYxQTRba1Xq5WlYNS5JbQk/x9pmYDCQ7Q";
  expect(await checkSimpleSigning(Buffer.from(payload), signature, MADE_OF, signers)).toMatchObject(
    { of: "image" },
  );
});

test("a key of cosign is opened by its password, and signs what its public key finds good", async () => {
  const file = made("cosign.pub");
  const signers: Signer[] = [{ kind: "cosign-key", text: "cosign-key:x", trusted: { file } }];
  const folder = await mkdtemp(join(tmpdir(), "pannier-cosign-"));
  onTestFinished(() => rm(folder, { recursive: true, force: true }));
  const password = join(folder, "password");
  await writeFile(password, "open sesame\n");
  const key = await openSigningKey(made("cosign.key"), password);
  expect(await checkImageBundle(signImage(key, DIGEST), DIGEST, signers)).toMatchObject(good);
  await writeFile(password, "close sesame\n");
  for (const wrong of [undefined, password])
    await expect(openSigningKey(made("cosign.key"), wrong)).rejects.toMatchObject({
      exitCode: 2,
      message: expect.stringContaining("cannot be opened"),
      cause: expect.not.objectContaining({ message: expect.stringContaining("sesame") }),
    });
  await expect(openSigningKey(file)).rejects.toMatchObject({ exitCode: 2 });
});

const good = { kind: "cosign-key", key: expect.stringMatching(/^SHA256:/) };

test("an image: the bundle has to be of it, a signature, and by who is trusted", async () => {
  const [ada, eve] = [await keyPair(), await keyPair()];
  const bundle = signImage(await openSigningKey(ada.secret), DIGEST);
  expect(await checkImageBundle(bundle, DIGEST, [eve.signer, ada.signer])).toMatchObject(good);
  expect(await checkImageBundle(bundle, OTHER, [ada.signer])).toMatch(/of another image/);
  expect(await checkImageBundle(bundle, DIGEST, [eve.signer])).toMatch(/is not by/);

  const json = JSON.parse(bundle.toString()) as { dsseEnvelope: Record<string, unknown> };
  const statement = JSON.parse(
    Buffer.from(json.dsseEnvelope["payload"] as string, "base64").toString(),
  ) as Record<string, unknown>;
  const withStatement = (other: Record<string, unknown>) => {
    const payload = Buffer.from(JSON.stringify({ ...statement, ...other })).toString("base64");
    return Buffer.from(
      JSON.stringify({ ...json, dsseEnvelope: { ...json.dsseEnvelope, payload } }),
    );
  };
  // Its signature moved over to a statement about another image.
  const moved = withStatement({ subject: [{ digest: { sha256: OTHER.slice(7) } }] });
  expect(await checkImageBundle(moved, OTHER, [ada.signer])).toMatch(/is not by/);
  const attestation = withStatement({ predicateType: "https://slsa.dev/provenance/v1" });
  expect(await checkImageBundle(attestation, DIGEST, [ada.signer])).toMatch(/attestation/);
  const two = [DIGEST, OTHER].map((each) => ({ digest: { sha256: each.slice(7) } }));
  const both = withStatement({ subject: two });
  expect(await checkImageBundle(both, DIGEST, [ada.signer])).toMatch(/of another image/);

  const { dsseEnvelope } = json;
  const unsigned = Buffer.from(
    JSON.stringify({ ...json, dsseEnvelope: { ...dsseEnvelope, signatures: [] } }),
  );
  expect(await checkImageBundle(unsigned, DIGEST, [ada.signer])).toMatch(/is not by/);
  for (const broken of [bundle.subarray(0, -5), Buffer.from("{}"), Buffer.from("[]")])
    await expect(checkImageBundle(broken, DIGEST, [ada.signer])).rejects.toMatchObject({
      exitCode: 6,
    });
});

const payloadOf = (digest: string, type = "cosign container image signature") =>
  Buffer.from(JSON.stringify({ critical: { image: { "docker-manifest-digest": digest }, type } }));

const signed = (key: KeyObject, bytes: Uint8Array) => sign("sha256", bytes, key).toString("base64");

test("an image by simple signing: the payload has to name it", async () => {
  const ada = await keyPair();
  const payload = payloadOf(DIGEST);
  const signature = signed(ada.key, payload);
  expect(await checkSimpleSigning(payload, signature, DIGEST, [ada.signer])).toMatchObject(good);
  const wrong = [
    [payload, signature, OTHER],
    [payloadOf(OTHER), signed(ada.key, payloadOf(OTHER)), DIGEST],
    [payloadOf(DIGEST, "other"), signed(ada.key, payloadOf(DIGEST, "other")), DIGEST],
    [payload, signature.slice(0, 20), DIGEST],
    [payload, "", DIGEST],
  ] as const;
  for (const [content, sig, digest] of wrong)
    expect(await checkSimpleSigning(content, sig, digest, [ada.signer])).toBeTypeOf("string");
});

const bundleOf = (key: KeyObject, content: string, other: object = {}) =>
  Buffer.from(
    JSON.stringify({
      mediaType: "application/vnd.dev.sigstore.bundle.v0.3+json",
      verificationMaterial: { publicKey: { hint: "x" } },
      messageSignature: {
        messageDigest: { algorithm: "SHA2_256", digest: hash("sha256", content, "base64") },
        signature: signed(key, Buffer.from(content)),
      },
      ...other,
    }),
  );

test("a file by a bundle beside it", async () => {
  const [ada, eve] = [await keyPair(), await keyPair()];
  const check = async (bundle: Buffer, content: string, signers = [eve.signer, ada.signer]) => {
    const checks = await openFileChecks(async () => bundle, signers);
    checks.update(Buffer.from(content));
    return checks.finish();
  };
  const bundle = bundleOf(ada.key, "one");
  expect(await check(bundle, "one")).toMatchObject({ ...good, of: "file" });
  await expect(check(bundle, "two")).rejects.toMatchObject({ exitCode: 6 });
  await expect(check(bundle, "one", [eve.signer])).rejects.toMatchObject({ exitCode: 6 });
  const image = signImage(await openSigningKey(ada.secret), DIGEST);
  await expect(check(image, "one")).rejects.toThrow("not one of a file");
  const later = bundleOf(ada.key, "one", { mediaType: "application/vnd.later" });
  await expect(check(later, "one")).rejects.toThrow("of a form that is not known");
});

test("a private key, or none, in place of a public one is a mistake", async () => {
  const ada = await keyPair();
  const bundle = signImage(await openSigningKey(ada.secret), DIGEST);
  for (const file of [ada.secret, "/nonexistent"]) {
    const signer: Signer = { kind: "cosign-key", text: `cosign-key:${file}`, trusted: { file } };
    await expect(checkImageBundle(bundle, DIGEST, [signer])).rejects.toMatchObject({ exitCode: 2 });
  }
});
