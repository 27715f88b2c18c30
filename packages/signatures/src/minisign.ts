/** Signatures of minisign (https://jedisct1.github.io/minisign/), of content that is hashed before it is signed. */
import { createHash, createPublicKey, type KeyObject, verify } from "node:crypto";
import { readTrusted, type Signer, SourceError, UsageError } from "@pannier/core/adapter";
import type { FileCheck } from "./check.ts";

/** A `.minisig` file, taken apart. */
interface MinisignSignature {
  /** Of the key, as the tool prints it. */
  readonly keyId: string;
  readonly signature: Buffer;
  readonly trustedComment: string;
  /** Over the signature and the trusted comment. */
  readonly globalSignature: Buffer;
}

const SIGNATURE_LENGTH = 64;
const KEY_LENGTH = 32;
const ID_LENGTH = 8;
const HEAD = 2 + ID_LENGTH;

/** @throws SourceError `invalid` where it is not whole, or signs content that was not hashed */
export function readMinisign(file: Uint8Array): MinisignSignature {
  const [untrusted = "", body = "", trusted = "", global = "", ...rest] = Buffer.from(file)
    .toString()
    .split(/\r?\n/);
  const bytes = decode(body);
  const globalSignature = decode(global);
  const [, trustedComment] = /^trusted comment: (.*)$/.exec(trusted) ?? [];
  if (
    !untrusted.startsWith("untrusted comment: ") ||
    bytes?.length !== HEAD + SIGNATURE_LENGTH ||
    trustedComment === undefined ||
    globalSignature?.length !== SIGNATURE_LENGTH ||
    rest.some((line) => line !== "")
  )
    throw new SourceError("invalid", "the signature of minisign is not whole");
  const algorithm = bytes.toString("latin1", 0, 2);
  if (algorithm !== "ED")
    throw new SourceError("invalid", "the signature is not of the form that minisign makes today", {
      hint: "sign it again with minisign 0.10 or later, without -l",
    });
  return {
    keyId: idOf(bytes),
    signature: bytes.subarray(HEAD),
    trustedComment,
    globalSignature,
  };
}

/**
 * Whether one of the signers made it, over content that is passed through.
 *
 * @throws UsageError where a key cannot be read
 */
export async function openMinisignCheck(
  { keyId, signature, trustedComment, globalSignature }: MinisignSignature,
  signers: readonly Signer[],
): Promise<FileCheck> {
  const keys: { readonly id: string; readonly key: KeyObject }[] = [];
  for (const signer of signers)
    if (signer.kind === "minisign") keys.push(readKey(await readTrusted(signer), signer.text));
  const covered = Buffer.concat([signature, Buffer.from(trustedComment)]);
  const sum = createHash("blake2b512");
  return {
    update: (chunk) => void sum.update(chunk),
    finish() {
      const digest = sum.digest();
      const mine = keys.filter(({ id }) => id === keyId);
      const isGood = mine.some(
        ({ key }) =>
          verify(null, digest, key, signature) && verify(null, covered, key, globalSignature),
      );
      if (isGood) return { kind: "minisign", of: "file", key: keyId };
      if (mine.length > 0)
        return `the signature of minisign by the key ${keyId} is not of this content`;
      return `the file is signed by the key ${keyId} of minisign; trusted is ${keys.map(({ id }) => id).join(", ")}`;
    },
  };
}

/** @throws UsageError */
function readKey(file: Uint8Array, text: string): { readonly id: string; readonly key: KeyObject } {
  const lines = Buffer.from(file).toString().trim().split(/\r?\n/);
  const bytes = decode(lines.at(-1) ?? "");
  if (
    bytes?.length !== HEAD + KEY_LENGTH ||
    lines.length > 2 ||
    bytes.toString("latin1", 0, 2) !== "Ed"
  )
    throw new UsageError(`${text} is not a public key of minisign`, "minisign -G makes one");
  const x = bytes.subarray(HEAD).toString("base64url");
  const key = createPublicKey({ key: { kty: "OKP", crv: "Ed25519", x }, format: "jwk" });
  return { id: idOf(bytes), key };
}

function idOf(bytes: Buffer): string {
  return bytes
    .readBigUInt64LE(2)
    .toString(16)
    .toUpperCase()
    .padStart(2 * ID_LENGTH, "0");
}

/** Strict: what comes out has to be what went in. */
function decode(base64: string): Buffer | undefined {
  const bytes = Buffer.from(base64, "base64");
  return bytes.toString("base64") === base64 ? bytes : undefined;
}
