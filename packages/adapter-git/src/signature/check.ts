/** Whether a commit, or the tag that named it, was signed by one who is trusted. */
import {
  type CheckedSignature,
  readTrusted,
  type SignatureKind,
  type Signer,
  SourceError,
} from "@pannier/core/adapter";
import type { NamedTag } from "../refs.ts";
import { printable } from "../remote/pkt-line.ts";
import { CacheDamaged, type ObjectStore } from "../store/store.ts";
import { checkOpenPgp } from "./openpgp.ts";
import { BadSignature } from "./program.ts";
import { isObject, type SignedObject, signedCommit, signedTag, tagHead } from "./signed-object.ts";
import { checkSsh } from "./ssh.ts";

/** Kinds of signatures that git's objects bear. */
export const GIT_SIGNATURES = ["ssh", "openpgp"] as const satisfies readonly SignatureKind[];

/**
 * The signature of the tag, or else that of the commit itself: each of them covers the whole tree.
 *
 * @param tag the annotated tag by which the commit was found, if it was
 * @throws SourceError `invalid` where neither was signed by one of the signers; UsageError where what is trusted cannot be read
 */
export async function checkSignature(
  store: ObjectStore,
  commit: string,
  tag: NamedTag | undefined,
  signers: readonly Signer[],
  signal: AbortSignal,
): Promise<CheckedSignature> {
  const reasons: string[] = [];
  const attempts = [
    ...(tag === undefined ? [] : [() => fromTag(store, commit, tag, signers, signal)]),
    () => fromCommit(store, commit, signers, signal),
  ];
  for (const attempt of attempts) {
    try {
      return await attempt();
    } catch (error) {
      if (!(error instanceof BadSignature)) throw error;
      reasons.push(error.message);
    }
  }
  throw new SourceError("invalid", reasons.join("; "), {
    hint: "what is published stays; have it signed by one who is trusted, or trust who signed it",
  });
}

async function fromTag(
  store: ObjectStore,
  commit: string,
  { oid, name }: NamedTag,
  signers: readonly Signer[],
  signal: AbortSignal,
): Promise<CheckedSignature> {
  const shown = `tag ${printable(name)}`;
  const data = await readObject(store, oid, "tag");
  const head = tagHead(data);
  // A tag under another's name would show an old version as a new one.
  if (head.name !== name)
    throw new BadSignature(`${shown} is in truth the tag ${printable(head.name)}`);
  if (head.object !== commit || head.type !== "commit")
    throw new BadSignature(`${shown} names no commit itself`);
  return check(shown, signedTag(data), signers, signal);
}

async function fromCommit(
  store: ObjectStore,
  oid: string,
  signers: readonly Signer[],
  signal: AbortSignal,
): Promise<CheckedSignature> {
  const signed = signedCommit(oid, await readObject(store, oid, "commit"));
  return { ...(await check(`commit ${oid}`, signed, signers, signal)), of: "commit" };
}

async function readObject(
  store: ObjectStore,
  oid: string,
  type: "commit" | "tag",
): Promise<Uint8Array> {
  const object = await store.read(oid);
  if (object?.type !== type || !isObject(oid, type, object.data))
    throw new CacheDamaged(`${type} ${oid} is not what its name says`);
  return object.data;
}

const CHECKS = { ssh: checkSsh, openpgp: checkOpenPgp } as const;

/** @throws BadSignature naming what it is of */
async function check(
  of: string,
  signed: SignedObject | undefined,
  signers: readonly Signer[],
  signal: AbortSignal,
): Promise<CheckedSignature> {
  if (signed === undefined) throw new BadSignature(`${of} is not signed`);
  const kind = kindOf(signed.signature);
  if (kind === undefined)
    throw new BadSignature(`${of} has a signature of a kind that is not known here`);
  const trusted = signers.filter((signer) => signer.kind === kind);
  if (trusted.length === 0)
    throw new BadSignature(
      `${of} has a signature of the kind ${kind}, for which no key is trusted`,
    );
  let reason = "";
  for (const signer of trusted) {
    try {
      const { by, key } = await CHECKS[kind](signed, await readTrusted(signer), signal);
      return { kind, of, by, key };
    } catch (error) {
      if (!(error instanceof BadSignature)) throw error;
      reason = `${of} has no good signature by ${signer.text}: ${error.message}`;
    }
  }
  throw new BadSignature(reason);
}

function kindOf(signature: string): "ssh" | "openpgp" | undefined {
  if (signature.startsWith("-----BEGIN SSH SIGNATURE-----")) return "ssh";
  return /^-----BEGIN PGP (SIGNATURE|MESSAGE)-----/.test(signature) ? "openpgp" : undefined;
}
