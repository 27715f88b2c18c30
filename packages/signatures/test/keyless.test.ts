/** Bundles without a key, by authorities and a log of our own. */
import { createHash, sign } from "node:crypto";
import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { Signer } from "@pannier/core/adapter";
import { beforeAll, describe, expect, onTestFinished, test, vi } from "vitest";
import { checkImageBundle, openFileChecks } from "../src/index.ts";
import { SIGNED, STATEMENT, statementBytes } from "../src/cosign.ts";
import {
  type Authorities,
  bundledEntry,
  ecKeys,
  makeAuthorities,
  proposedEntry,
} from "./authorities.ts";

const ADA = "https://git.example.com/web/site/.github/workflows/release.yml@refs/tags/v1";
const ISSUER = "https://token.example.com";
const DIGEST = `sha256:${"a".repeat(64)}`;
const ISSUER_OID = "1.3.6.1.4.1.57264.1.8";
const MINUTE = 60_000;

let ours: Authorities;
let others: Authorities;

beforeAll(async () => {
  [ours, others] = [await makeAuthorities(), await makeAuthorities()];
});

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
  readonly mediaType: string;
  readonly messageSignature?: { readonly messageDigest: object; readonly signature: string };
  readonly verificationMaterial: {
    readonly certificate: { readonly rawBytes: string };
    readonly tlogEntries: readonly Record<string, unknown>[];
    readonly timestampVerificationData?: {
      readonly rfc3161Timestamps: readonly { readonly signedTimestamp: string }[];
    };
  };
}

interface MadeBy {
  readonly by?: Authorities;
  readonly who?: string;
  /** When the certificate was made. */
  readonly clock?: Date;
  /** Says that the log tells no time (Rekor of version 2), and what a time stamp authority tells: its time, or `none`. */
  readonly stamped?: Date | "none";
}

const sha256 = (bytes: Uint8Array) => createHash("sha256").update(bytes).digest();

/** A bundle as cosign makes it. */
async function bundle(
  what: { readonly file: string } | { readonly image: string },
  { by = ours, who = ADA, clock, stamped }: MadeBy = {},
): Promise<Made> {
  const keys = ecKeys();
  const extensions = [{ oid: ISSUER_OID, value: ISSUER }];
  const certificate = await by.certificateFor(keys.publicKey, who, extensions, clock);
  const statement =
    "file" in what
      ? undefined
      : Buffer.from(
          JSON.stringify({
            subject: [{ digest: { sha256: what.image.slice(7) } }],
            predicateType: SIGNED,
          }),
        );
  const content = "file" in what ? Buffer.from(what.file) : statementBytes(statement as Buffer);
  const signature = sign("sha256", content, keys.privateKey);
  const kind = statement === undefined ? "hashedrekord" : "dsse";
  const entry =
    stamped === undefined
      ? bundledEntry(
          await by.log(
            proposedEntry({ signature, kind, certificate, sha256: sha256(statement ?? content) }),
          ),
          kind,
        )
      : by.logWithoutTime({ signature, kind, certificate, sha256: sha256(content) });
  const signedTimestamp =
    stamped instanceof Date
      ? (await by.timestamp(signature, stamped)).toString("base64")
      : undefined;
  return {
    mediaType: "application/vnd.dev.sigstore.bundle.v0.3+json",
    verificationMaterial: {
      certificate: { rawBytes: certificate.toString("base64") },
      tlogEntries: [entry],
      ...(signedTimestamp === undefined
        ? {}
        : { timestampVerificationData: { rfc3161Timestamps: [{ signedTimestamp }] } }),
    },
    ...(statement === undefined
      ? {
          messageSignature: {
            messageDigest: { algorithm: "SHA2_256", digest: sha256(content).toString("base64") },
            signature: signature.toString("base64"),
          },
        }
      : {
          dsseEnvelope: {
            payload: statement.toString("base64"),
            payloadType: STATEMENT,
            signatures: [{ sig: signature.toString("base64") }],
          },
        }),
  };
}

/** In so many minutes. Time stamps have no fractions here. */
const at = (minutes: number) => new Date(Math.ceil(Date.now() / 1000) * 1000 + minutes * MINUTE);

const bytesOf = (json: unknown) => Buffer.from(JSON.stringify(json));

async function checkFile(json: unknown, content: string, signer = signerOf()) {
  const checks = await openFileChecks(async () => bytesOf(json), [await signer]);
  checks.update(Buffer.from(content.slice(0, 1)));
  checks.update(Buffer.from(content.slice(1)));
  return checks.finish();
}

const good = { kind: "sigstore", by: ADA, key: ISSUER };

const madeByCosign = (name: string) =>
  readFile(new URL(`made-by-cosign/keyless/${name}`, import.meta.url), "utf8");

test.each([1, 2])("what cosign made is good, in a log of version %d", async (version) => {
  const root = JSON.parse(await madeByCosign("trusted_root.json"));
  const identity = "https://git.example.com/ada";
  const file = JSON.parse(await madeByCosign(`hello.txt.rekor${version}.sigstore.json`));
  const image = Buffer.from(await madeByCosign(`image.rekor${version}.sigstore.json`));
  const digest = "sha256:4a5cfc9bb83d33251d0fd9f8548eaf65ec7c02dcb6d98d9e27cd16d486201953";
  const signing = signerOf({ identity, root });
  const signer = await signing;
  const expected = { ...good, by: identity };
  expect(await checkFile(file, "hello\n", signing)).toEqual({ ...expected, of: "file" });
  expect(await checkImageBundle(image, digest, [signer])).toEqual({ ...expected, of: "image" });

  await expect(checkFile(file, "hello", signing)).rejects.toMatchObject({ exitCode: 6 });
  expect(await checkImageBundle(image, DIGEST, [signer])).toMatch(/of another image/);
  const other = await signerOf({ identity: `${identity}/`, root });
  expect(await checkImageBundle(image, digest, [other])).toMatch(/and not by/);
  expect(await checkImageBundle(image, digest, [await signerOf({ identity })])).toMatch(/not good/);
});

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
  const clock = at(-60);
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

const stampOf = ({ verificationMaterial: { timestampVerificationData } }: Made) =>
  timestampVerificationData?.rfc3161Timestamps[0]?.signedTimestamp as string;

describe("by a log that tells no time", () => {
  test("a time stamp authority tells when it was, whatever the clock says now", async () => {
    const stamped = at(0);
    const [file, signedImage] = [
      await bundle({ file: "one" }, { stamped }),
      bytesOf(await bundle({ image: DIGEST }, { stamped })),
    ];
    vi.useFakeTimers({ toFake: ["Date"], now: Date.now() + 10 * 365 * 24 * 60 * MINUTE });
    onTestFinished(() => void vi.useRealTimers());
    expect(await checkFile(file, "one")).toMatchObject(good);
    const image = await checkImageBundle(signedImage, DIGEST, [await signerOf()]);
    expect(image).toMatchObject({ ...good, of: "image" });
    await expect(checkFile(file, "two")).rejects.toThrow("not good");
  });

  test.each([
    ["no time stamp", {}, "none"],
    ["a time stamp from before the certificate", { clock: 30 }, 0],
    ["one from after it", {}, 30],
    ["one from before the authority's own certificate", {}, -30],
  ] as const)("%s: nothing is good", async (_, { clock }: { clock?: number }, minutes) => {
    const times = {
      stamped: minutes === "none" ? minutes : at(minutes),
      ...(clock === undefined ? {} : { clock: at(clock) }),
    };
    const made = await bundle({ file: "one" }, times);
    await expect(checkFile(made, "one")).rejects.toMatchObject({ exitCode: 6 });
    const image = bytesOf(await bundle({ image: DIGEST }, times));
    expect(await checkImageBundle(image, DIGEST, [await signerOf()])).toMatch(/not good/);
  });

  test("a time stamp of another signature or authority, or one that was changed, is none", async () => {
    const stamped = at(0);
    const made = await bundle({ file: "one" }, { stamped });
    const { verificationMaterial } = made;
    const withStamps = (...stamps: readonly string[]) => ({
      ...made,
      verificationMaterial: {
        ...verificationMaterial,
        timestampVerificationData: {
          rfc3161Timestamps: stamps.map((signedTimestamp) => ({ signedTimestamp })),
        },
      },
    });
    const own = stampOf(made);
    const moved = stampOf(await bundle({ file: "one" }, { stamped }));
    const signature = Buffer.from(made.messageSignature?.signature ?? "", "base64");
    const byOthers = (await others.timestamp(signature)).toString("base64");
    await expect(checkFile(withStamps(own), "one")).resolves.toMatchObject(good);
    const wrong = [[], [moved], [byOthers], [own, moved], [own, own], Array<string>(9).fill(own)];
    for (const stamps of wrong)
      await expect(checkFile(withStamps(...stamps), "one")).rejects.toMatchObject({ exitCode: 6 });

    const bytes = Buffer.from(own, "base64");
    for (let byte = 0; byte < bytes.length; byte += 7) {
      const changed = Buffer.from(bytes);
      changed.writeUInt8(changed.readUInt8(byte) ^ 0x10, byte);
      const outcome = await checkFile(withStamps(changed.toString("base64")), "one").catch(
        (error: unknown) => error,
      );
      // Some of its bytes are no part of what is signed: it is as good as it was, or refused.
      expect([good.kind, 6], `byte ${byte}`).toContain(
        (outcome as { kind?: string }).kind ?? (outcome as { exitCode?: number }).exitCode,
      );
    }
  });
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
