/** What cosign itself signs without a key, by authorities and a log on this machine, published or refused. */
import { execFile } from "node:child_process";
import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { promisify } from "node:util";
import { afterAll, beforeAll, describe, expect, onTestFinished, test } from "vitest";
import { gzipLayer, putImage } from "../../packages/adapter-oci/test/images.ts";
import { bundledEntry } from "../../packages/signatures/test/authorities.ts";
import { startSigstore } from "../../packages/signatures/test/sigstore-server.ts";
import { describeOutcome, runPannier } from "../support/pannier.ts";
import { findProgram } from "./servers/process.ts";
import { describeWith } from "./support.ts";

const execute = promisify(execFile);
const cosign = findProgram("cosign");
const oras = findProgram("oras");
const ADA = "https://git.example.com/web/site/.github/workflows/release.yml@refs/tags/v1";
const ISSUER = "https://token.example.com";
const BUNDLE = "application/vnd.dev.sigstore.bundle.v0.3+json";
const HOUR = 3_600_000;

let folder: string;
let sigstore: Awaited<ReturnType<typeof startSigstore>>;
let stop = async () => {};

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "pannier-cosign-"));
  // Nobody asks for it then, and it needs OpenSSL.
  if (cosign === undefined) return;
  sigstore = await startSigstore(join(folder, "sigstore"));
  stop = () => sigstore.close();
});
afterAll(async () => {
  await stop();
  await rm(folder, { recursive: true });
});

async function newFolder(): Promise<string> {
  const path = await mkdtemp(join(folder, "test-"));
  onTestFinished(() => rm(path, { recursive: true, force: true }));
  return path;
}

/** Has Ada sign: cosign checks what it made by the trusted root itself. */
function signBy(version: 1 | 2, ...args: readonly string[]) {
  const { signingConfigs, trustedRoot, tokenOf } = sigstore;
  const [command = "", ...rest] = args;
  const by = ["--signing-config", signingConfigs[version], "--trusted-root", trustedRoot];
  const token = ["--identity-token", tokenOf(ADA, ISSUER)];
  return execute(cosign as string, [command, "--yes", ...by, ...token, ...rest], {
    env: { PATH: process.env["PATH"], HOME: folder },
  });
}

interface Trust {
  readonly identity?: string;
  readonly issuer?: string;
}

function sync(url: string, target: string, { identity = ADA, issuer = ISSUER }: Trust = {}) {
  const signer = `sigstore:${sigstore.trustedRoot}?identity=${identity}&issuer=${issuer}`;
  return runPannier(["sync", url, target, "--signed-by", signer]);
}

const OTHERS: readonly Trust[] = [
  { identity: ADA.replace("v1", "v2") },
  { identity: ADA.slice(0, -1) },
  { issuer: "https://token.example.org" },
];

describe.skipIf(cosign === undefined).each([1, 2] as const)(
  "signed without a key, in a log of version %d",
  { meta: { skipReason: "no cosign" } },
  (version) => {
    test("a file", async () => {
      const work = await newFolder();
      const [page, target] = [join(work, "page"), join(work, "target")];
      const bundle = `${page}.sigstore.json`;
      await writeFile(page, "one");
      await signBy(version, "sign-blob", "--bundle", bundle, page);
      for (const other of OTHERS) expect((await sync(page, target, other)).code).toBe(6);
      const good = await sync(page, target, { identity: ADA.replace("v1", "*") });
      expect(good.code, describeOutcome(good)).toBe(0);
      expect(await readFile(join(target, "current/page"), "utf8")).toBe("one");

      // Its signature moved over to other content, and then one that is good.
      await writeFile(page, "two");
      expect((await sync(page, target)).code).toBe(6);
      const made = await readFile(bundle, "utf8");
      await signBy(version, "sign-blob", "--bundle", bundle, page);
      expect((await sync(page, target)).code).toBe(0);
      await writeFile(bundle, made);
      await writeFile(page, "one");
      expect((await sync(page, target)).code).toBe(0);

      // As cosign made it, but written to the log when the certificate had expired; or without a time.
      await writeFile(bundle, JSON.stringify(await expired(JSON.parse(made) as Bundle, version)));
      const late = await sync(page, join(work, "other"));
      expect(late.code, describeOutcome(late)).toBe(6);
    });
  },
);

interface Bundle {
  readonly verificationMaterial: {
    readonly tlogEntries: readonly { readonly canonicalizedBody: string }[];
  };
}

async function expired(bundle: Bundle, version: 1 | 2): Promise<object> {
  const { verificationMaterial } = bundle;
  const [entry] = verificationMaterial.tlogEntries;
  const body = JSON.parse(Buffer.from(entry?.canonicalizedBody ?? "", "base64").toString());
  const late = async () => {
    const answer = await sigstore.authorities.log(body, new Date(Date.now() + HOUR));
    return { tlogEntries: [bundledEntry(answer, "hashedrekord")] };
  };
  const changed =
    version === 1 ? await late() : { timestampVerificationData: { rfc3161Timestamps: [] } };
  return { ...bundle, verificationMaterial: { ...verificationMaterial, ...changed } };
}

describeWith("distribution", "images signed without a key", ({ port }) => {
  test.skipIf(cosign === undefined || oras === undefined).each([1, 2] as const)(
    "in a log of version %d",
    { meta: { skipReason: cosign === undefined ? "no cosign" : "no oras" } },
    async (version) => {
      const work = await newFolder();
      const target = join(work, "target");
      const repository = `127.0.0.1:${port}/signed/v${version}`;
      const url = `oci+http://${repository}:live`;
      const push = async (content: string) =>
        putImage(url, [await gzipLayer([{ name: "page", content }])]);
      const published = () => readFile(join(target, "current/page"), "utf8");

      const first = await push("one");
      const unsigned = await sync(url, target);
      expect(unsigned.code, describeOutcome(unsigned)).toBe(6);
      const bundle = join(work, "bundle.sigstore.json");
      const plain = ["--allow-http-registry", "--bundle", bundle];
      await signBy(version, "sign", ...plain, `${repository}@${first}`);
      for (const other of OTHERS) expect((await sync(url, target, other)).code).toBe(6);
      const good = await sync(url, target);
      expect(good.code, describeOutcome(good)).toBe(0);
      expect(await published()).toBe("one");

      const second = await push("two");
      const attach = ["attach", "--plain-http", "--artifact-type", BUNDLE];
      const options = { cwd: work };
      await execute(
        oras as string,
        [...attach, `${repository}@${second}`, `bundle.sigstore.json:${BUNDLE}`],
        options,
      );
      const moved = await sync(url, target);
      expect(moved.code, describeOutcome(moved)).toBe(6);
      expect(moved.stderr).toContain("of another image");
      expect(await published()).toBe("one");
      await signBy(version, "sign", "--allow-http-registry", `${repository}@${second}`);
      expect((await sync(url, target)).code).toBe(0);
      expect(await published()).toBe("two");
    },
  );
});
