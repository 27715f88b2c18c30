/** Who has to have signed a source: what `--signed-by` says, taken apart. */
import { createHash } from "node:crypto";
import { isAbsolute, resolve } from "node:path";
import { UsageError } from "./errors.ts";
import { nearest } from "./nearest.ts";
import { readCredentialFile } from "./secrets.ts";

/** Kinds of signatures, with what their file is called in messages. */
const FILES = {
  ssh: "allowed signers file",
  openpgp: "OpenPGP keyring",
  "cosign-key": "public key of cosign",
  sigstore: "trusted root of Sigstore",
  minisign: "public key of minisign",
} as const;

export type SignatureKind = keyof typeof FILES;

/** One that is trusted to sign. */
export interface Signer {
  readonly kind: SignatureKind;
  /** As the user wrote it. Holds no secret: keys are public ones. */
  readonly text: string;
  /** The file that holds what is trusted, or a public key itself. */
  readonly trusted: { readonly file: string } | { readonly key: string };
  /** Of `sigstore`: who has to have signed, where a `*` at the end stands for whatever follows, and who has to have vouched for that. */
  readonly by?: { readonly identity: string; readonly issuer: string } | undefined;
}

/** A signature that was checked and is good, by one who is trusted. */
export interface CheckedSignature {
  readonly kind: SignatureKind;
  /** What bears it: `commit`, `tag v1.2`, `image`, `file`. */
  readonly of: string;
  /** Who signed, where the kind has names: a principal, a user id. */
  readonly by?: string | undefined;
  /** The key, as its tools name it. */
  readonly key: string;
}

/** A public key of minisign as its tools print it. */
const MINISIGN_KEY = /^RW[A-Za-z0-9+/]{54}$/;

/** @throws UsageError */
export function parseSigner(text: string): Signer {
  const [, kind = "", rest = ""] = /^([^:]*):(.*)$/s.exec(text) ?? [];
  const kinds = Object.keys(FILES);
  if (!Object.hasOwn(FILES, kind)) {
    const near = nearest(kind === "" ? text : kind, kinds);
    throw new UsageError(
      `${JSON.stringify(text)} names no signer: it does not start with ${kinds.map((each) => `${each}:`).join(", ")}`,
      near === undefined ? "write ssh:FILE, for example" : `did you mean "${near}:"?`,
    );
  }
  if (rest === "" || rest.includes("\0"))
    throw new UsageError(`${JSON.stringify(text)} names no file`, `write ${kind}:FILE`);
  if (kind === "sigstore") return parseSigstore(text, rest);
  const isKey = kind === "minisign" && MINISIGN_KEY.test(rest);
  return {
    kind: kind as SignatureKind,
    text,
    trusted: isKey ? { key: rest } : { file: rest },
  };
}

/** `FILE?identity=WHO&issuer=URL`; both may have percent escapes. */
function parseSigstore(text: string, rest: string): Signer {
  const [, file = "", query = ""] = /^(.*?)\?((?:identity|issuer)=.*)$/s.exec(rest) ?? [];
  const found = new Map<string, string>();
  for (const part of query.split("&")) {
    const [, key = "", value = ""] = /^(identity|issuer)=(.+)$/s.exec(part) ?? [];
    try {
      if (!found.has(key)) found.set(key, decodeURIComponent(value));
    } catch {
      throw new UsageError(`${JSON.stringify(text)} has a % that is no escape`, "write %25");
    }
  }
  const [identity = "", issuer = ""] = [found.get("identity"), found.get("issuer")];
  if (file === "" || identity === "" || issuer === "" || query.split("&").length !== 2)
    throw new UsageError(
      `${JSON.stringify(text)} does not say who signs`,
      "write sigstore:FILE?identity=WHO&issuer=URL, with %26 for a & in them",
    );
  if (identity === "*")
    throw new UsageError(
      `${JSON.stringify(text)} trusts all that the issuer knows`,
      "write how the identity begins, before the *",
    );
  return { kind: "sigstore", text, trusted: { file }, by: { identity, issuer } };
}

/** The same signer, its file taken as relative to a directory. @throws UsageError */
export function signerIn(directory: string, text: string): string {
  const { kind, trusted } = parseSigner(text);
  if (!("file" in trusted) || isAbsolute(trusted.file)) return text;
  const after = text.slice(kind.length + 1 + trusted.file.length);
  return `${kind}:${resolve(directory, trusted.file)}${after}`;
}

/** What is trusted, as it is now: a file is read again at each use. @throws UsageError */
export async function readTrusted({ kind, trusted }: Signer): Promise<Buffer> {
  return "key" in trusted
    ? Buffer.from(trusted.key)
    : readCredentialFile(trusted.file, FILES[kind]);
}

/**
 * A digest of all that is trusted to sign one source: what was checked under another one has to be checked again.
 *
 * @throws UsageError
 */
export async function digestOfTrusted(signers: readonly Signer[]): Promise<string> {
  const sum = createHash("sha256");
  for (const signer of signers) {
    const content = await readTrusted(signer);
    sum.update(`${JSON.stringify(signer.text)} ${content.length}\n`).update(content);
  }
  return sum.digest("hex");
}

/** @throws UsageError where an adapter can check none of the signatures that are asked for */
export function refuseOtherKinds(
  {
    name,
    signatures = [],
  }: { readonly name: string; readonly signatures?: readonly SignatureKind[] | undefined },
  signers: readonly Signer[],
): void {
  if (signers.length === 0 || signers.some(({ kind }) => signatures.includes(kind))) return;
  const asked = signers.map(({ text }) => text).join(", ");
  throw new UsageError(
    `a ${name} source cannot be checked for a signature by ${asked}`,
    signatures.length === 0
      ? "the sources that can are named in docs/signatures.md"
      : `it can for ${signatures.map((kind) => `${kind}:`).join(", ")}`,
  );
}
