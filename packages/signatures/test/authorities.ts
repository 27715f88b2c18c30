/** Certificate authority, logs and time stamp authority for tests of keyless signatures, and what they write of one. */
import {
  createHash,
  generateKeyPairSync,
  hash,
  type KeyObject,
  randomInt,
  sign,
} from "node:crypto";
import { initializeCA, initializeCTLog, initializeTLog, initializeTSA } from "@sigstore/mock";

const LOG = "log.example.com";

export type Keys = ReturnType<typeof ecKeys>;
export type Authorities = Awaited<ReturnType<typeof makeAuthorities>>;

export function ecKeys(namedCurve = "P-256") {
  return generateKeyPairSync("ec", { namedCurve });
}

const spki = (key: KeyObject) => key.export({ type: "spki", format: "der" });
const base64 = (bytes: Uint8Array) => Buffer.from(bytes).toString("base64");
export const pemOf = (der: Uint8Array) =>
  `-----BEGIN CERTIFICATE-----\n${base64(der)}\n-----END CERTIFICATE-----\n`;

const trustedLog = (key: KeyObject) => ({
  baseUrl: `https://${LOG}`,
  hashAlgorithm: "SHA2_256",
  publicKey: {
    rawBytes: base64(spki(key)),
    keyDetails: "PKIX_ECDSA_P256_SHA_256",
    validFor: { start: new Date(0).toISOString() },
  },
  logId: { keyId: base64(createHash("sha256").update(spki(key)).digest()) },
});
export const trustedChain = (uri: string, certificates: readonly Uint8Array[]) => ({
  uri,
  subject: { organization: "example.com", commonName: uri },
  certChain: { certificates: certificates.map((each) => ({ rawBytes: base64(each) })) },
  validFor: { start: new Date(0).toISOString() },
});

/** What is signed, and how a log learns of it. */
export interface SignedContent {
  readonly signature: Uint8Array;
  /** Of a DSSE envelope the log gets the SHA-256 of its payload, of content its own. */
  readonly kind: "hashedrekord" | "dsse";
  readonly sha256: Uint8Array;
  /** DER. */
  readonly certificate: Uint8Array;
}

export async function makeAuthorities() {
  const [caKeys, ctKeys, logKeys, tsaKeys] = [ecKeys("P-384"), ecKeys(), ecKeys(), ecKeys("P-384")];
  const ctLog = await initializeCTLog(ctKeys);
  const log = await initializeTLog(`https://${LOG}`, logKeys);
  const ca = await initializeCA(caKeys, ctLog);
  const tsa = await initializeTSA(tsaKeys);

  /** @param clock when it is made; the log's entries are made now */
  async function certificateFor(
    publicKey: KeyObject,
    who: string,
    extensions: readonly { readonly oid: string; readonly value: string }[],
    clock?: Date,
  ): Promise<Buffer> {
    // It signs itself again each time; the root of the trusted one does not go with the clock.
    const own = clock === undefined ? ca : await initializeCA(caKeys, ctLog, clock);
    return Buffer.from(
      (await own.issueCertificate({
        publicKey: spki(publicKey),
        subjectAltName: who,
        extensions: [...extensions],
      })) as Uint8Array,
    );
  }

  /** An RFC 3161 response. @param clock the time that it tells */
  async function timestamp(signature: Uint8Array, clock?: Date): Promise<Buffer> {
    const own = clock === undefined ? tsa : await initializeTSA(tsaKeys, clock);
    const response = await own.timestamp({
      artifactHash: createHash("sha256").update(signature).digest(),
      hashAlgorithmOID: "2.16.840.1.101.3.4.2.1",
      nonce: randomInt(2 ** 31),
      policyOID: "1.3.6.1.4.1.57264.2",
      certReq: false,
    });
    return Buffer.from(response as Uint8Array);
  }

  const root = Buffer.from(ca.rootCertificate as Uint8Array);

  return {
    root,
    certificateFor,
    timestamp,
    /** An entry of a log of the first kind, which promises a time: what its server answers. */
    async log(proposed: object, clock?: Date): Promise<Record<string, LogAnswer>> {
      const own =
        clock === undefined ? log : await initializeTLog(`https://${LOG}`, logKeys, clock);
      return own.log(proposed) as Promise<Record<string, LogAnswer>>;
    },
    /** The same of the second kind, which tells no time. */
    logWithoutTime: (signed: SignedContent) => tileEntry(signed, logKeys),
    trustedRoot: {
      mediaType: "application/vnd.dev.sigstore.trustedroot+json;version=0.1",
      tlogs: [trustedLog(logKeys.publicKey)],
      ctlogs: [trustedLog(ctKeys.publicKey)],
      certificateAuthorities: [trustedChain("https://ca.example.com", [root])],
      timestampAuthorities: [
        trustedChain("https://time.example.com", [
          tsa.intCertificate as Uint8Array,
          tsa.rootCertificate as Uint8Array,
        ]),
      ],
    },
  };
}

/** What Rekor of version 1 answers of an entry. */
export interface LogAnswer {
  readonly body: string;
  readonly integratedTime: number;
  readonly logID: string;
  readonly logIndex: number;
  readonly verification: {
    readonly signedEntryTimestamp: string;
    readonly inclusionProof: {
      readonly checkpoint: string;
      readonly rootHash: string;
      readonly treeSize: number;
    };
  };
}

/** As Rekor of version 1 keeps it. */
export function proposedEntry({ signature, kind, sha256, certificate }: SignedContent) {
  const value = Buffer.from(sha256).toString("hex");
  const [content, verifier] = [base64(signature), base64(Buffer.from(pemOf(certificate)))];
  const spec =
    kind === "hashedrekord"
      ? {
          data: { hash: { algorithm: "sha256", value } },
          signature: { content, publicKey: { content: verifier } },
        }
      : {
          // Of the envelope, which nobody looks at.
          envelopeHash: { algorithm: "sha256", value },
          payloadHash: { algorithm: "sha256", value },
          signatures: [{ signature: content, verifier }],
        };
  return { kind, apiVersion: "0.0.1", spec };
}

/** An entry as a bundle has it. */
export function bundledEntry(answer: Readonly<Record<string, LogAnswer>>, kind: string) {
  const [entry] = Object.values(answer) as [LogAnswer];
  const { inclusionProof, signedEntryTimestamp } = entry.verification;
  return {
    logIndex: String(entry.logIndex),
    logId: { keyId: base64(Buffer.from(entry.logID, "hex")) },
    kindVersion: { kind, version: "0.0.1" },
    integratedTime: String(entry.integratedTime),
    inclusionPromise: { signedEntryTimestamp },
    inclusionProof: {
      logIndex: "0",
      rootHash: base64(Buffer.from(inclusionProof.rootHash, "hex")),
      treeSize: String(inclusionProof.treeSize),
      hashes: [],
      checkpoint: { envelope: inclusionProof.checkpoint },
    },
    canonicalizedBody: entry.body,
  };
}

/**
 * An entry of Rekor of version 2 (https://github.com/sigstore/rekor-tiles), the only one in its log. It has but one kind, for which the digest of a DSSE
 * envelope is that of all that is signed.
 */
function tileEntry({ signature, sha256, certificate }: SignedContent, keys: Keys) {
  // In the order of RFC 8785.
  const body = Buffer.from(
    JSON.stringify({
      apiVersion: "0.0.2",
      kind: "hashedrekord",
      spec: {
        hashedRekordV002: {
          data: { algorithm: "SHA2_256", digest: base64(sha256) },
          signature: {
            content: base64(signature),
            verifier: {
              keyDetails: "PKIX_ECDSA_P256_SHA_256",
              x509Certificate: { rawBytes: base64(certificate) },
            },
          },
        },
      },
    }),
  );
  const rootHash = hash("sha256", Buffer.concat([Buffer.of(0), body]), "base64");
  const keyId = createHash("sha256").update(spki(keys.publicKey)).digest();
  const note = `${LOG}\n1\n${rootHash}\n`;
  const signed = Buffer.concat([
    keyId.subarray(0, 4),
    sign("sha256", Buffer.from(note), keys.privateKey),
  ]);
  return {
    logIndex: "0",
    logId: { keyId: base64(keyId) },
    kindVersion: { kind: "hashedrekord", version: "0.0.2" },
    integratedTime: "0",
    inclusionProof: {
      logIndex: "0",
      rootHash,
      treeSize: "1",
      hashes: [],
      checkpoint: { envelope: `${note}\n\u2014 ${LOG} ${base64(signed)}\n` },
    },
    canonicalizedBody: base64(body),
  };
}
