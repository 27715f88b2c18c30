/**
 * Signatures of cosign: bundles (https://docs.sigstore.dev/about/bundle/) of files and images, and the older form,
 * "simple signing", of images. Those that were made without a key are in `keyless.ts`.
 */
import {
  createHash,
  createPublicKey,
  createVerify,
  hash,
  type KeyObject,
  verify,
} from "node:crypto";
import {
  type CheckedSignature,
  readTrusted,
  type Signer,
  SourceError,
  UsageError,
} from "@pannier/core/adapter";
import type { FileCheck } from "./check.ts";
import { keylessFileCheck, openKeylessCheck } from "./keyless.ts";

/** The predicate by which cosign signs an image, and nothing else of it: an attestation says something about an image, not that it is to be trusted. */
export const SIGNED = "https://sigstore.dev/cosign/sign/v1";
export const STATEMENT = "application/vnd.in-toto+json";
const BUNDLE = /^application\/vnd\.dev\.sigstore\.bundle(?:\.v0\.3\+json|\+json;version=0\.[1-3])$/;

type Json = Readonly<Record<string, unknown>>;

/** What a bundle says of a file. */
interface BundleOfFile {
  /** Over the content. */
  readonly signature: Buffer;
  readonly json: unknown;
}

/** @throws SourceError `invalid` */
export function readFileBundle(bytes: Uint8Array): BundleOfFile {
  const json = readBundle(bytes);
  const { messageSignature } = json;
  const { messageDigest, signature } = objectOf(messageSignature);
  const { algorithm } = objectOf(messageDigest);
  if (algorithm !== "SHA2_256" || typeof signature !== "string")
    throw new SourceError("invalid", "the bundle of cosign is not one of a file", {
      hint: "cosign sign-blob --bundle makes one",
    });
  return { signature: Buffer.from(signature, "base64"), json };
}

/**
 * Whether one of the signers made it, over content that is passed through.
 *
 * @throws UsageError where a key cannot be read
 */
export async function openBundleCheck(
  { signature }: BundleOfFile,
  signers: readonly Signer[],
): Promise<FileCheck> {
  const keys = await readKeys(signers);
  const sums = keys.map(({ key }) => ({ key, sum: createVerify("sha256") }));
  return {
    update(chunk) {
      for (const { sum } of sums) sum.update(chunk);
    },
    finish: () =>
      judge(keys, "file", (wanted) =>
        sums.some(({ key, sum }) => key === wanted && sum.verify(key, signature)),
      ),
  };
}

/**
 * The same for signers that are identities.
 *
 * @throws SourceError `invalid` where the bundle cannot be read; UsageError where a trusted root cannot be
 */
export async function openKeylessBundleCheck(
  { signature, json }: BundleOfFile,
  signers: readonly Signer[],
): Promise<FileCheck> {
  return keylessFileCheck(await openKeylessCheck(json, signers), signature);
}

/**
 * Whether one of the signers made a bundle, and of this image.
 *
 * @param digest of its manifest
 * @returns why not, where it is not good
 * @throws SourceError `invalid` where it is no bundle; UsageError where a key cannot be read
 */
export async function checkImageBundle(
  bytes: Uint8Array,
  digest: string,
  signers: readonly Signer[],
): Promise<CheckedSignature | string> {
  const bundle = readImageBundle(bytes, digest);
  if (typeof bundle === "string") return bundle;
  const keys = await readKeys(signers);
  const byKey = judge(keys, "image", (key) => isBundleBy(key, bundle));
  if (typeof byKey !== "string" || !signers.some(({ by }) => by !== undefined)) return byKey;
  const check = await openKeylessCheck(bundle.json, signers);
  const { content, statement, signatures } = bundle;
  const [signature = Buffer.alloc(0)] = signatures;
  const signed = {
    signature,
    // The first by Rekor of version 1, the other by version 2.
    digests: [statement, content].map((each) => createHash("sha256").update(each).digest()),
    isBy: (key: KeyObject) => isOf(key, content, signature),
  };
  const keyless = check.judge(signed, "image");
  return typeof keyless === "string" && keys.length > 0 ? `${byKey}; ${keyless}` : keyless;
}

/** What a bundle says of an image. */
interface BundleOfImage {
  /** What is signed. */
  readonly content: Buffer;
  readonly signatures: readonly Buffer[];
  /** What is signed, without what says its kind. */
  readonly statement: Buffer;
  readonly json: unknown;
}

/** @returns why it is not one of this image, where it is not */
export function readImageBundle(bytes: Uint8Array, digest: string): BundleOfImage | string {
  const json = readBundle(bytes);
  const { payload, payloadType, signatures } = objectOf(json["dsseEnvelope"]);
  if (typeof payload !== "string" || payloadType !== STATEMENT || !Array.isArray(signatures))
    return "the bundle of cosign is not one of an image";
  const statement = Buffer.from(payload, "base64");
  const { subject, predicateType } = readJson(statement, "the statement of the bundle");
  if (predicateType !== SIGNED) return "the bundle is an attestation, and no signature";
  const names = Array.isArray(subject)
    ? subject.map((each) => objectOf(objectOf(each)["digest"])["sha256"])
    : [];
  if (names.length !== 1 || `sha256:${String(names[0])}` !== digest)
    return "the bundle of cosign is of another image";
  const found = signatures.map((each) => objectOf(each)["sig"]);
  return {
    content: statementBytes(statement),
    statement,
    json,
    signatures: found.flatMap((sig) =>
      typeof sig === "string" ? [Buffer.from(sig, "base64")] : [],
    ),
  };
}

export function isBundleBy(key: KeyObject, { content, signatures }: BundleOfImage): boolean {
  return signatures.some((signature) => isOf(key, content, signature));
}

/** What is signed of a statement (https://github.com/secure-systems-lab/dsse). */
export function statementBytes(statement: Uint8Array): Buffer {
  const head = `DSSEv1 ${STATEMENT.length} ${STATEMENT} ${statement.length} `;
  return Buffer.concat([Buffer.from(head), statement]);
}

/** The same of an image, by the older form. @param payload what is signed: it has to name this image */
export async function checkSimpleSigning(
  payload: Uint8Array,
  signature: string,
  digest: string,
  signers: readonly Signer[],
): Promise<CheckedSignature | string> {
  const critical = objectOf(readJson(payload, "the payload of the signature")["critical"]);
  if (critical["type"] !== "cosign container image signature")
    return "the payload of the signature is not one of cosign";
  if (objectOf(critical["image"])["docker-manifest-digest"] !== digest)
    return "the signature is of another image";
  if (!signers.some(({ kind }) => kind === "cosign-key"))
    return "there is a signature of the older form, which is checked by a key only";
  const bytes = Buffer.from(signature, "base64");
  return judge(await readKeys(signers), "image", (key) => isOf(key, payload, bytes));
}

interface TrustedKey {
  readonly text: string;
  readonly key: KeyObject;
}

/** @throws UsageError */
async function readKeys(signers: readonly Signer[]): Promise<readonly TrustedKey[]> {
  const keys: TrustedKey[] = [];
  for (const signer of signers) {
    if (signer.kind !== "cosign-key") continue;
    keys.push({ text: signer.text, key: readKey(await readTrusted(signer), signer.text) });
  }
  return keys;
}

function judge(
  keys: readonly TrustedKey[],
  of: string,
  isGood: (key: KeyObject) => boolean,
): CheckedSignature | string {
  for (const { key } of keys) if (isGood(key)) return { kind: "cosign-key", of, key: nameOf(key) };
  return `the signature of the ${of} is not by ${keys.map(({ text }) => text).join(", ")}`;
}

/** @throws UsageError */
function readKey(pem: Uint8Array, text: string): KeyObject {
  try {
    // Of a private key the public one would be made, and a private one has no business here.
    if (/PRIVATE KEY/.test(Buffer.from(pem).toString("latin1"))) throw new Error("a private key");
    const key = createPublicKey(Buffer.from(pem));
    if (KINDS.includes(key.asymmetricKeyType ?? "")) return key;
    throw new Error("of another kind");
  } catch (error) {
    throw new UsageError(
      `${text} is not a public key of cosign`,
      "cosign generate-key-pair makes one: cosign.pub",
      { cause: error },
    );
  }
}

const KINDS = ["ec", "rsa"];

function isOf(key: KeyObject, content: Uint8Array, signature: Buffer): boolean {
  return verify("sha256", content, key, signature);
}

function nameOf(key: KeyObject): string {
  const der = key.export({ type: "spki", format: "der" });
  return `SHA256:${hash("sha256", der, "base64").replace(/=+$/, "")}`;
}

/** @throws SourceError `invalid` */
function readBundle(bytes: Uint8Array): Json {
  const bundle = readJson(bytes, "the bundle of cosign");
  const { mediaType } = bundle;
  if (typeof mediaType !== "string" || !BUNDLE.test(mediaType))
    throw new SourceError("invalid", "the bundle of cosign is of a form that is not known here");
  return bundle;
}

function readJson(bytes: Uint8Array, what: string): Json {
  try {
    return objectOf(JSON.parse(new TextDecoder("utf-8", { fatal: true }).decode(bytes)));
  } catch (error) {
    throw new SourceError("invalid", `${what} is not JSON`, { cause: error });
  }
}

function objectOf(value: unknown): Json {
  return typeof value === "object" && value !== null && !Array.isArray(value)
    ? (value as Json)
    : {};
}
