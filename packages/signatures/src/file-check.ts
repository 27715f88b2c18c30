/** Signatures that lie beside a file. */
import {
  type CheckedSignature,
  type SignatureKind,
  type Signer,
  SourceError,
} from "@pannier/core/adapter";
import type { FileCheck } from "./check.ts";
import { openBundleCheck, openKeylessBundleCheck, readFileBundle } from "./cosign.ts";
import { openMinisignCheck, readMinisign } from "./minisign.ts";

/** Kinds of signatures that a file can have beside it. */
export const FILE_SIGNATURES = [
  "minisign",
  "cosign-key",
  "sigstore",
] as const satisfies SignatureKind[];

/** What the file of a signature is called, behind the name of the file that it is of. */
const ENDINGS = {
  minisign: ".minisig",
  "cosign-key": ".sigstore.json",
  sigstore: ".sigstore.json",
} as const;

/** Bytes of a signature at most. */
const MOST = 64 << 10;

/** A check of content that is passed through it. */
export interface FileChecks {
  update(chunk: Uint8Array): void;
  /** Once, at the end. @throws SourceError `invalid` where no signature is good */
  finish(): CheckedSignature;
}

/** Reads what lies beside a file, or as much as is asked for of it. `undefined` where there is no such file. */
export type ReadBeside = (ending: string, most: number) => Promise<Uint8Array | undefined>;

/**
 * Begins to check a file by whatever signatures lie beside it, of the kinds by which somebody is trusted.
 *
 * @returns a check that throws at its end where none of them is good
 * @throws SourceError `invalid` where there is none; UsageError where a key cannot be read
 */
export async function openFileChecks(
  readBeside: ReadBeside,
  signers: readonly Signer[],
): Promise<FileChecks> {
  const checks: FileCheck[] = [];
  const reasons: string[] = [];
  const kinds = FILE_SIGNATURES.filter((kind) => signers.some((signer) => signer.kind === kind));
  for (const kind of kinds) {
    const ending = ENDINGS[kind];
    const found = await readBeside(ending, MOST + 1);
    if (found === undefined) reasons.push(`there is no ${ending} beside it`);
    else if (found.byteLength > MOST) reasons.push(`its ${ending} is too long for a signature`);
    else checks.push(await open(kind, found, signers, reasons));
  }
  if (checks.length === 0) throw refused(reasons);
  return {
    update(chunk) {
      for (const check of checks) check.update(chunk);
    },
    finish() {
      for (const check of checks) {
        const answer = check.finish();
        if (typeof answer !== "string") return answer;
        reasons.push(answer);
      }
      throw refused(reasons);
    },
  };
}

async function open(
  kind: (typeof FILE_SIGNATURES)[number],
  signature: Uint8Array,
  signers: readonly Signer[],
  reasons: string[],
): Promise<FileCheck> {
  try {
    if (kind === "minisign") return await openMinisignCheck(readMinisign(signature), signers);
    const openBundle = kind === "cosign-key" ? openBundleCheck : openKeylessBundleCheck;
    return await openBundle(readFileBundle(signature), signers);
  } catch (error) {
    if (!(error instanceof SourceError)) throw error;
    // Another one may be good.
    reasons.push(error.message);
    return { update() {}, finish: () => error.message };
  }
}

function refused(reasons: readonly string[]): SourceError {
  return new SourceError("invalid", `the file is not signed: ${[...new Set(reasons)].join("; ")}`, {
    hint: "what is published stays; have it signed by one who is trusted, or trust who signed it",
  });
}
