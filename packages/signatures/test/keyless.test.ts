/** Bundles without a key, by authorities and a log of our own. */
import { createHash, generateKeyPairSync, hash, sign } from "node:crypto";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { Signer } from "@pannier/core/adapter";
import { initializeCA, initializeCTLog, initializeTLog } from "@sigstore/mock";
import { beforeAll, expect, onTestFinished, test } from "vitest";
import { checkImageBundle, openFileChecks } from "../src/index.ts";
import { SIGNED, STATEMENT, statementBytes } from "../src/cosign.ts";

const ADA = "https://git.example.com/web/site/.github/workflows/release.yml@refs/tags/v1";
const ISSUER = "https://token.example.com";
const DIGEST = `sha256:${"a".repeat(64)}`;
const ISSUER_OID = "1.3.6.1.4.1.57264.1.8";
const MINUTE = 60_000;

const ecKeys = (namedCurve = "P-256") => generateKeyPairSync("ec", { namedCurve });
const spki = (key: ReturnType<typeof ecKeys>) =>
  key.publicKey.export({ type: "spki", format: "der" });

type Authorities = Awaited<ReturnType<typeof makeAuthorities>>;
let ours: Authorities;
let others: Authorities;

beforeAll(async () => {
  [ours, others] = [await makeAuthorities(), await makeAuthorities()];
});

/** @param clock when certificates are made; the log's entries are made now */
async function makeAuthorities() {
  const [caKeys, ctKeys, logKeys] = [ecKeys("P-384"), ecKeys(), ecKeys()];
  const ctLog = await initializeCTLog(ctKeys);
  const log = await initializeTLog("https://log.example.com", logKeys);
  const root = await initializeCA(caKeys, ctLog);
  const certificate = async (who: string, issuer: string, clock?: Date) => {
    const keys = ecKeys();
    // It signs itself again each time; the root of the trusted one does not go with the clock.
    const ca = clock === undefined ? root : await initializeCA(caKeys, ctLog, clock);
    const extensions = [{ oid: ISSUER_OID, value: issuer }];
    const made = await ca.issueCertificate({
      publicKey: spki(keys),
      subjectAltName: who,
      extensions,
    });
    return { keys, bytes: Buffer.from(made as Uint8Array) };
  };
  const logOf = (keys: ReturnType<typeof ecKeys>) => ({
    baseUrl: "https://log.example.com",
    hashAlgorithm: "SHA2_256",
    publicKey: {
      rawBytes: spki(keys).toString("base64"),
      keyDetails: "PKIX_ECDSA_P256_SHA_256",
      validFor: { start: new Date(0).toISOString() },
    },
    logId: { keyId: createHash("sha256").update(spki(keys)).digest("base64") },
  });
  const trustedRoot = {
    mediaType: "application/vnd.dev.sigstore.trustedroot+json;version=0.1",
    tlogs: [logOf(logKeys)],
    ctlogs: [logOf(ctKeys)],
    certificateAuthorities: [
      {
        uri: "https://ca.example.com",
        certChain: {
          certificates: [
            { rawBytes: Buffer.from(root.rootCertificate as Uint8Array).toString("base64") },
          ],
        },
        validFor: { start: new Date(0).toISOString() },
      },
    ],
    timestampAuthorities: [],
  };
  return { certificate, log, trustedRoot };
}

async function rootFile(content: unknown): Promise<string> {
  const folder = await mkdtemp(join(tmpdir(), "pannier-keyless-"));
  onTestFinished(() => rm(folder, { recursive: true, force: true }));
  const file = join(folder, "trusted_root.json");
  await writeFile(file, JSON.stringify(content));
  return file;
}

async function signerOf({ identity = ADA, issuer = ISSUER, root = ours.trustedRoot } = {}) {
  const file = await rootFile(root);
  const text = `sigstore:${file}?identity=${identity}&issuer=${issuer}`;
  const signer: Signer = {
    kind: "sigstore",
    text,
    trusted: { file },
    by: { identity, issuer },
  };
  return signer;
}

interface Made {
  readonly verificationMaterial: {
    readonly tlogEntries: readonly Record<string, unknown>[];
  };
}

/** A bundle as cosign makes it. */
async function bundle(
  what: { readonly file: string } | { readonly image: string },
  { by = ours, who = ADA, clock }: { by?: Authorities; who?: string; clock?: Date } = {},
): Promise<Made> {
  const { keys, bytes } = await by.certificate(who, ISSUER, clock);
  const pem = `-----BEGIN CERTIFICATE-----\n${bytes.toString("base64")}\n-----END CERTIFICATE-----\n`;
  const verifier = Buffer.from(pem).toString("base64");
  let proposed: { kind: string; apiVersion: string; spec: object };
  let content: object;
  if ("file" in what) {
    const signature = sign("sha256", Buffer.from(what.file), keys.privateKey).toString("base64");
    const value = hash("sha256", what.file);
    proposed = {
      kind: "hashedrekord",
      apiVersion: "0.0.1",
      spec: {
        data: { hash: { algorithm: "sha256", value } },
        signature: { content: signature, publicKey: { content: verifier } },
      },
    };
    const digest = Buffer.from(value, "hex").toString("base64");
    content = { messageSignature: { messageDigest: { algorithm: "SHA2_256", digest }, signature } };
  } else {
    const statement = Buffer.from(
      JSON.stringify({
        subject: [{ digest: { sha256: what.image.slice(7) } }],
        predicateType: SIGNED,
      }),
    );
    const sig = sign("sha256", statementBytes(statement), keys.privateKey).toString("base64");
    proposed = {
      kind: "dsse",
      apiVersion: "0.0.1",
      spec: {
        payloadHash: { algorithm: "sha256", value: hash("sha256", statement) },
        signatures: [{ signature: sig, verifier }],
      },
    };
    const payload = statement.toString("base64");
    content = { dsseEnvelope: { payload, payloadType: STATEMENT, signatures: [{ sig }] } };
  }
  const [entry] = Object.values(await by.log.log(proposed)) as [
    {
      body: string;
      integratedTime: number;
      logID: string;
      logIndex: number;
      verification: {
        signedEntryTimestamp: string;
        inclusionProof: { checkpoint: string; rootHash: string; treeSize: number };
      };
    },
  ];
  const { inclusionProof, signedEntryTimestamp } = entry.verification;
  return {
    mediaType: "application/vnd.dev.sigstore.bundle.v0.3+json",
    verificationMaterial: {
      certificate: { rawBytes: bytes.toString("base64") },
      tlogEntries: [
        {
          logIndex: String(entry.logIndex),
          logId: { keyId: Buffer.from(entry.logID, "hex").toString("base64") },
          kindVersion: { kind: proposed.kind, version: proposed.apiVersion },
          integratedTime: String(entry.integratedTime),
          inclusionPromise: { signedEntryTimestamp },
          inclusionProof: {
            logIndex: "0",
            rootHash: Buffer.from(inclusionProof.rootHash, "hex").toString("base64"),
            treeSize: String(inclusionProof.treeSize),
            hashes: [],
            checkpoint: { envelope: inclusionProof.checkpoint },
          },
          canonicalizedBody: entry.body,
        },
      ],
    },
    ...content,
  } as Made;
}

const bytesOf = (json: unknown) => Buffer.from(JSON.stringify(json));

async function checkFile(json: unknown, content: string, signer = signerOf()) {
  const checks = await openFileChecks(async () => bytesOf(json), [await signer]);
  checks.update(Buffer.from(content.slice(0, 1)));
  checks.update(Buffer.from(content.slice(1)));
  return checks.finish();
}

const good = { kind: "sigstore", by: ADA, key: ISSUER };

test("an identity that the issuer vouched for is good, of files and images", async () => {
  expect(await checkFile(await bundle({ file: "one" }), "one")).toEqual({ ...good, of: "file" });
  const image = bytesOf(await bundle({ image: DIGEST }));
  expect(await checkImageBundle(image, DIGEST, [await signerOf()])).toEqual({
    ...good,
    of: "image",
  });
  const tags = await signerOf({ identity: ADA.replace(/v1$/, "*") });
  expect(await checkImageBundle(image, DIGEST, [tags])).toMatchObject(good);
  const two = [await signerOf({ identity: "eve@example.com" }), tags];
  expect(await checkImageBundle(image, DIGEST, two)).toMatchObject(good);
});

test("another identity, issuer or trusted root, or another's bundle, is refused", async () => {
  const made = await bundle({ file: "one" });
  const refused = { exitCode: 6 };
  for (const other of [
    { identity: ADA.slice(0, -1) },
    { identity: ADA.replace("git.example", "git-example") },
    // Not a pattern.
    { identity: ".*" },
    { issuer: "https://token.example.org" },
    { root: others.trustedRoot },
  ])
    await expect(checkFile(made, "one", signerOf(other))).rejects.toMatchObject(refused);
  await expect(checkFile(made, "two")).rejects.toMatchObject(refused);
  const image = bytesOf(await bundle({ image: DIGEST }));
  const elsewhere = `sha256:${"b".repeat(64)}`;
  expect(await checkImageBundle(image, elsewhere, [await signerOf()])).toMatch(/of another image/);
  const byOthers = bytesOf(await bundle({ image: DIGEST }, { by: others }));
  expect(await checkImageBundle(byOthers, DIGEST, [await signerOf()])).toMatch(/not good/);
});

test("a certificate that had expired when the log took the signature is refused", async () => {
  const clock = new Date(Date.now() - 60 * MINUTE);
  const now = await bundle({ file: "one" }, { clock: new Date() });
  expect(await checkFile(now, "one")).toMatchObject(good);
  const late = await bundle({ file: "one" }, { clock });
  await expect(checkFile(late, "one")).rejects.toMatchObject({ exitCode: 6 });
});

test("without a proof of the log, or with another's, nothing is good", async () => {
  const made = await bundle({ file: "one" });
  const other = await bundle({ file: "two" });
  const { verificationMaterial } = made;
  const [entry = {}] = verificationMaterial.tlogEntries;
  const [otherEntry = {}] = other.verificationMaterial.tlogEntries;
  const { inclusionPromise: _, ...noPromise } = entry;
  const { inclusionProof: __, ...noProof } = noPromise;
  const checkpoint = { envelope: "log\n1\nAAAA\n\n\u2014 (a+)+$ AAAAAAAAAAA=\n" };
  const wrong = [
    [],
    [noPromise],
    [noProof],
    [otherEntry],
    [{ ...entry, integratedTime: String(Number(entry["integratedTime"]) - 1) }],
    [{ ...entry, canonicalizedBody: otherEntry["canonicalizedBody"] }],
    [{ ...entry, inclusionProof: { ...(entry["inclusionProof"] as object), checkpoint } }],
    Array.from({ length: 9 }, () => entry),
  ];
  for (const tlogEntries of wrong) {
    const changed = { ...made, verificationMaterial: { ...verificationMaterial, tlogEntries } };
    await expect(checkFile(changed, "one")).rejects.toMatchObject({ exitCode: 6 });
  }
});

test("a bundle by a key is none of an identity", async () => {
  const made = await bundle({ file: "one" });
  const { tlogEntries } = made.verificationMaterial;
  const verificationMaterial = { publicKey: { hint: "x" }, tlogEntries };
  await expect(checkFile({ ...made, verificationMaterial }, "one")).rejects.toMatchObject({
    exitCode: 6,
  });
});

test("a file that is no trusted root is a mistake", async () => {
  const made = await bundle({ file: "one" });
  for (const root of [{}, { ...ours.trustedRoot, ctlogs: [] }, []])
    await expect(checkFile(made, "one", signerOf({ root: root as never }))).rejects.toMatchObject({
      exitCode: 2,
    });
});
