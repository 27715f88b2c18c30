/** Signing images with a key of cosign, so that cosign finds the signature good. */
import {
  createPrivateKey,
  createPublicKey,
  hash,
  type KeyObject,
  scryptSync,
  sign,
} from "node:crypto";
import { xsalsa20poly1305 } from "@noble/ciphers/salsa.js";
import { readCredentialFile, readSecret, UsageError } from "@pannier/core/adapter";
import { isBundleBy, readImageBundle, SIGNED, STATEMENT, statementBytes } from "./cosign.ts";

export interface SigningKey {
  readonly key: KeyObject;
}

/** What cosign asks of a machine to open a key: `N` of 2^16, and not much more, whatever the file says. */
const MOST_MEMORY = 256 << 20;

/**
 * Opens a private key: one of cosign, or any of an elliptic curve in PEM.
 *
 * @param passwordFile holds its password; left out where it has none
 * @throws UsageError
 */
export async function openSigningKey(file: string, passwordFile?: string): Promise<SigningKey> {
  const text = (await readCredentialFile(file, "signing key")).toString();
  const password =
    passwordFile === undefined ? "" : await readSecret(passwordFile, "password file");
  let key: KeyObject;
  try {
    const [, body] =
      /-----BEGIN ENCRYPTED (?:SIGSTORE|COSIGN) PRIVATE KEY-----([^-]+)-----END/.exec(text) ?? [];
    key =
      body === undefined
        ? createPrivateKey({ key: text, passphrase: password })
        : createPrivateKey({ key: opened(body, password), format: "der", type: "pkcs8" });
  } catch (error) {
    throw new UsageError(
      `the signing key ${file} cannot be opened`,
      "check its password: --sign-password-file names the file that holds it",
      // Not the cause: it might quote what it was given.
      { cause: new Error((error as Error).name) },
    );
  }
  if (key.asymmetricKeyType === "ec") return { key };
  throw new UsageError(
    `the signing key ${file} is of another kind than cosign makes`,
    "cosign generate-key-pair makes one",
  );
}

/** As cosign encrypts keys: scrypt, and the secretbox of NaCl. */
function opened(base64: string, password: string): Buffer {
  const { kdf, cipher, ciphertext } = JSON.parse(Buffer.from(base64, "base64").toString()) as {
    readonly kdf: {
      readonly name: string;
      readonly params: { readonly N: number; readonly r: number; readonly p: number };
      readonly salt: string;
    };
    readonly cipher: { readonly name: string; readonly nonce: string };
    readonly ciphertext: string;
  };
  if (kdf.name !== "scrypt" || cipher.name !== "nacl/secretbox") throw new Error("unknown form");
  const { N, r, p } = kdf.params;
  const salt = Buffer.from(kdf.salt, "base64");
  const secret = scryptSync(password, salt, 32, { N, r, p, maxmem: MOST_MEMORY });
  const box = xsalsa20poly1305(secret, Buffer.from(cipher.nonce, "base64"));
  return Buffer.from(box.decrypt(Buffer.from(ciphertext, "base64")));
}

/** The bundle that says that an image is signed. @param digest of its manifest */
export function signImage({ key }: SigningKey, digest: string): Buffer {
  const statement = Buffer.from(
    JSON.stringify({
      _type: "https://in-toto.io/Statement/v1",
      subject: [{ digest: { sha256: digest.replace(/^sha256:/, "") } }],
      predicateType: SIGNED,
      predicate: {},
    }),
  );
  const spki = createPublicKey(key).export({ type: "spki", format: "der" });
  const sig = sign("sha256", statementBytes(statement), key).toString("base64");
  return Buffer.from(
    JSON.stringify({
      mediaType: "application/vnd.dev.sigstore.bundle.v0.3+json",
      verificationMaterial: { publicKey: { hint: hash("sha256", spki, "base64") } },
      dsseEnvelope: {
        payload: statement.toString("base64"),
        payloadType: STATEMENT,
        signatures: [{ sig }],
      },
    }),
  );
}

/** Whether a bundle is one of this image by this key. */
export function isSignedImage({ key }: SigningKey, bundle: Uint8Array, digest: string): boolean {
  const found = readImageBundle(bundle, digest);
  return typeof found !== "string" && isBundleBy(createPublicKey(key), found);
}
