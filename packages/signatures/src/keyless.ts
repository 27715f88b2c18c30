/**
 * Keyless signatures of cosign: an identity that an issuer vouched for, by a certificate that is good for some minutes, written to a
 * transparency log (https://docs.sigstore.dev/about/bundle/). Whom to trust for certificates, logs and times is in a file, a "trusted root".
 * Nothing is asked of the network.
 */
import { createHash, createVerify, type KeyObject } from "node:crypto";
import {
  type CheckedSignature,
  readTrusted,
  type Signer,
  SourceError,
  UsageError,
} from "@pannier/core/adapter";
import type { TrustMaterial } from "@sigstore/verify";
import type { FileCheck } from "./check.ts";

/** Entries of logs, or of time stamps, in one bundle at most: each is checked. */
const MOST_ENTRIES = 8;

/** Names that logs sign with. The library takes one for a pattern, which a made-up name could make it search for ever. */
const NAME = /^[\w.:/-]+$/;

/** What is signed. */
interface Signed {
  readonly signature: Buffer;
  /** SHA-256 of what the log may keep the digest of. */
  readonly digests: readonly Buffer[];
  /** Whether a key signed it. @param nth which of the signers is asked for */
  isBy(key: KeyObject, nth: number): boolean;
}

export interface KeylessCheck {
  /** How many signers there are. */
  readonly signers: number;
  /** @returns why it is not good, where it is not */
  judge(signed: Signed, of: string): CheckedSignature | string;
}

/**
 * Reads a bundle for those signers that are identities.
 *
 * @throws SourceError `invalid` where the bundle cannot be read; UsageError where a trusted root cannot be
 */
export async function openKeylessCheck(
  bundle: unknown,
  signers: readonly Signer[],
): Promise<KeylessCheck> {
  const trusted = await Promise.all(
    signers.flatMap((signer) => (signer.by === undefined ? [] : [readRoot(signer)])),
  );
  const [{ bundleFromJSON }, { toSignedEntity, Verifier }] = await Promise.all([
    import("@sigstore/bundle"),
    import("@sigstore/verify"),
  ]);
  const read = () => {
    try {
      return toSignedEntity(bundleFromJSON(bundle));
    } catch (error) {
      throw new SourceError("invalid", "the bundle of cosign cannot be read", { cause: error });
    }
  };
  const entity = read();
  const names = entity.tlogEntries.flatMap(({ inclusionProof }) =>
    Array.from(
      (inclusionProof?.checkpoint?.envelope ?? "").matchAll(/\u2014 (\S+)/g),
      ([, name = ""]) => name,
    ),
  );
  if (
    entity.key.$case !== "certificate" ||
    Math.max(entity.tlogEntries.length, entity.timestamps.length, names.length) > MOST_ENTRIES ||
    !names.every((name) => NAME.test(name))
  )
    throw new SourceError("invalid", "the bundle of cosign has no certificate, or odd entries");

  return {
    signers: trusted.length,
    judge({ signature, digests, isBy }, of) {
      const reasons: string[] = [];
      for (const [nth, { root, by, text }] of trusted.entries()) {
        const content = {
          signature,
          compareSignature: (other: Buffer) => other.equals(signature),
          compareDigest: (other: Buffer) => digests.some((digest) => other.equals(digest)),
          verifySignature: (key: KeyObject) => isBy(key, nth),
        };
        try {
          const { identity } = new Verifier(root).verify({ ...entity, signature: content });
          const name = identity?.subjectAlternativeName ?? "";
          const issuer = identity?.extensions?.issuer ?? "";
          if (isNamed(name, by.identity) && issuer === by.issuer)
            return { kind: "sigstore", of, by: name, key: issuer };
          reasons.push(
            `it is signed by ${JSON.stringify(name)} of ${JSON.stringify(issuer)}, and not by ${JSON.stringify(by.identity)} of ${JSON.stringify(by.issuer)}`,
          );
        } catch (error) {
          const why = error instanceof Error ? error.message : String(error);
          reasons.push(`the signature of the ${of} is not good by ${fileOf(text)}: ${why}`);
        }
      }
      return reasons.join("; ");
    },
  };
}

/** Checks a file whose content passes. @param signature that of the bundle, over the content */
export function keylessFileCheck(check: KeylessCheck, signature: Buffer): FileCheck {
  const sum = createHash("sha256");
  // One for each: each can be asked once.
  const sums = Array.from({ length: check.signers }, () => createVerify("sha256"));
  return {
    update(chunk) {
      sum.update(chunk);
      for (const each of sums) each.update(chunk);
    },
    finish: () =>
      check.judge(
        {
          signature,
          digests: [sum.digest()],
          isBy: (key, nth) => sums[nth]?.verify(key, signature) === true,
        },
        "file",
      ),
  };
}

/** A `*` at the end stands for whatever follows. */
function isNamed(name: string, wanted: string): boolean {
  return wanted.endsWith("*") ? name.startsWith(wanted.slice(0, -1)) : name === wanted;
}

interface Trusted {
  readonly text: string;
  readonly by: NonNullable<Signer["by"]>;
  readonly root: TrustMaterial;
}

/** @throws UsageError */
async function readRoot(signer: Signer): Promise<Trusted> {
  const { text, by = { identity: "", issuer: "" } } = signer;
  const content = await readTrusted(signer);
  const [{ TrustedRoot }, { toTrustMaterial }] = await Promise.all([
    import("@sigstore/protobuf-specs"),
    import("@sigstore/verify"),
  ]);
  try {
    const root = TrustedRoot.fromJSON(JSON.parse(content.toString()));
    const { certificateAuthorities, tlogs, ctlogs } = root;
    // Each is needed: without one of them nothing could be good.
    if ([certificateAuthorities, tlogs, ctlogs].some(({ length }) => length === 0))
      throw new Error("authorities or logs are missing");
    return { text, by, root: toTrustMaterial(root) };
  } catch (error) {
    throw new UsageError(
      `${fileOf(text)} is no trusted root of Sigstore`,
      "cosign trusted-root create makes one; that of sigstore.dev is trusted_root.json",
      { cause: error },
    );
  }
}

function fileOf(text: string): string {
  return text.replace(/\?.*$/s, "");
}
