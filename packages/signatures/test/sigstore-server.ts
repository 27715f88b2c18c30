/** What cosign asks to sign without a key, on 127.0.0.1: a certificate authority, a log of either version, and the time stamp authority of OpenSSL. */
import { execFile } from "node:child_process";
import {
  createHash,
  createPublicKey,
  generateKeyPairSync,
  sign,
  X509Certificate,
} from "node:crypto";
import { once } from "node:events";
import { mkdir, readFile, writeFile } from "node:fs/promises";
import { createServer, type IncomingMessage } from "node:http";
import type { AddressInfo } from "node:net";
import { join } from "node:path";
import { buffer } from "node:stream/consumers";
import { promisify } from "node:util";
import { makeAuthorities, pemOf, proposedEntry, trustedChain } from "./authorities.ts";

const execute = promisify(execFile);
const ISSUER_OID = "1.3.6.1.4.1.57264.1.8";
const decode = (text: unknown) => Buffer.from(String(text), "base64");

/** @param directory for its files */
export async function startSigstore(directory: string) {
  await mkdir(directory);
  const authorities = await makeAuthorities();
  const time = await makeTimeAuthority(directory);
  const { privateKey: issuerKey } = generateKeyPairSync("rsa", { modulusLength: 2048 });

  /** Path → status and body of the answer. */
  const answers: Record<string, (asked: Buffer, request: IncomingMessage) => Promise<Answer>> = {
    async "/api/v2/signingCert"(asked, { headers }) {
      const { publicKeyRequest } = JSON.parse(String(asked)) as {
        publicKeyRequest: { publicKey: { content: string } };
      };
      const claims = decode(headers.authorization?.split(".")[1]).toString();
      const { sub, iss } = JSON.parse(claims) as Record<"sub" | "iss", string>;
      const key = createPublicKey(publicKeyRequest.publicKey.content);
      const extensions = [{ oid: ISSUER_OID, value: iss }];
      const certificate = await authorities.certificateFor(key, sub, extensions);
      const certificates = [certificate, authorities.root].map(pemOf);
      return { status: 200, body: { signedCertificateEmbeddedSct: { chain: { certificates } } } };
    },
    async "/api/v1/log/entries"(asked) {
      const proposed = JSON.parse(String(asked)) as { kind: string; spec: ProposedEnvelope };
      const { kind, spec } = proposed;
      const body = await authorities.log(kind === "dsse" ? envelopeEntry(spec) : proposed);
      return { status: 201, body, etag: String(Object.keys(body)[0]) };
    },
    async "/api/v2/log/entries"(asked) {
      const {
        hashedRekordRequestV002: { digest, signature },
      } = JSON.parse(String(asked)) as { hashedRekordRequestV002: TileRequest };
      const body = authorities.logWithoutTime({
        kind: "hashedrekord",
        signature: decode(signature.content),
        sha256: decode(digest),
        certificate: decode(signature.verifier.x509Certificate.rawBytes),
      });
      return { status: 201, body };
    },
    "/timestamp": async (asked) => ({ status: 201, body: await time.stamp(asked) }),
  };

  const server = createServer(async (request, response) => {
    const answer = answers[request.url ?? ""];
    if (answer === undefined) return response.writeHead(404).end();
    const { status, body, etag } = await answer(await buffer(request), request);
    const type = Buffer.isBuffer(body) ? "application/timestamp-reply" : "application/json";
    response.writeHead(status, { "content-type": type, ...(etag === undefined ? {} : { etag }) });
    return response.end(Buffer.isBuffer(body) ? body : JSON.stringify(body));
  }).listen(0, "127.0.0.1");
  await once(server, "listening");
  const origin = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;

  const trustedRoot = join(directory, "trusted_root.json");
  const timestampAuthorities = [trustedChain("https://time.example.com", time.certificates)];
  await writeFile(
    trustedRoot,
    JSON.stringify({ ...authorities.trustedRoot, timestampAuthorities }),
  );
  return {
    authorities,
    /** Files for cosign and for whoever checks. */
    trustedRoot,
    signingConfigs: {
      1: await writeSigningConfig(directory, origin, 1),
      2: await writeSigningConfig(directory, origin, 2),
    },
    /** What an issuer says of who signs. */
    tokenOf(sub: string, iss: string): string {
      const exp = Math.floor(Date.now() / 1000) + 600;
      const said = [{ alg: "RS256" }, { sub, iss, aud: "sigstore", exp }]
        .map((part) => Buffer.from(JSON.stringify(part)).toString("base64url"))
        .join(".");
      return `${said}.${sign("sha256", Buffer.from(said), issuerKey).toString("base64url")}`;
    },
    async close() {
      const closed = once(server, "close");
      server.close();
      server.closeAllConnections();
      await closed;
    },
  };
}

interface Answer {
  readonly status: number;
  readonly body: object;
  readonly etag?: string;
}

interface ProposedEnvelope {
  readonly proposedContent: { readonly envelope: string; readonly verifiers: readonly string[] };
}

interface TileRequest {
  readonly digest: string;
  readonly signature: {
    readonly content: string;
    readonly verifier: { readonly x509Certificate: { readonly rawBytes: string } };
  };
}

/** What the log keeps of an envelope: not its payload. */
function envelopeEntry({ proposedContent: { envelope, verifiers } }: ProposedEnvelope) {
  const { payload, signatures } = JSON.parse(envelope) as {
    payload: string;
    signatures: readonly { readonly sig: string }[];
  };
  return proposedEntry({
    kind: "dsse",
    signature: decode(signatures[0]?.sig),
    sha256: createHash("sha256").update(decode(payload)).digest(),
    certificate: new X509Certificate(decode(verifiers[0])).raw,
  });
}

const service = (url: string, majorApiVersion = 1) => ({
  url,
  majorApiVersion,
  validFor: { start: new Date(0).toISOString() },
  operator: "example.com",
});

/** @param version of the log; the second tells no time */
async function writeSigningConfig(directory: string, origin: string, version: 1 | 2) {
  const path = join(directory, `signing_config.${version}.json`);
  const content = {
    mediaType: "application/vnd.dev.sigstore.signingconfig.v0.2+json",
    caUrls: [service(origin)],
    oidcUrls: [service(origin)],
    rekorTlogUrls: [service(origin, version)],
    rekorTlogConfig: { selector: "ANY" },
    tsaUrls: version === 1 ? [] : [service(`${origin}/timestamp`)],
    tsaConfig: { selector: "ANY" },
  };
  await writeFile(path, JSON.stringify(content));
  return path;
}

const subject = (name: string) => ["-subj", `/O=example.com/CN=${name}`];

async function makeTimeAuthority(directory: string) {
  const at = (name: string) => join(directory, name);
  const openssl = (...args: readonly string[]) => execute("openssl", args, { cwd: directory });
  const key = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"];
  const usage = "keyUsage=critical,digitalSignature\nextendedKeyUsage=critical,timeStamping\n";
  await writeFile(at("usage"), usage);
  await writeFile(at("serial"), "01");
  await writeFile(
    at("tsa.cnf"),
    `[tsa]\nserial = serial\nsigner_cert = tsa.pem\nsigner_key = tsa.key\nsigner_digest = sha256
default_policy = 1.3.6.1.4.1.57264.2\ndigests = sha256\ness_cert_id_alg = sha256\n`,
  );
  await openssl(
    "req",
    "-x509",
    ...key,
    "-keyout",
    "root.key",
    "-out",
    "root.pem",
    ...subject("root"),
  );
  await openssl("req", "-new", ...key, "-keyout", "tsa.key", "-out", "tsa.csr", ...subject("time"));
  const by = ["-CA", "root.pem", "-CAkey", "root.key", "-CAcreateserial", "-extfile", "usage"];
  await openssl("x509", "-req", "-in", "tsa.csr", ...by, "-out", "tsa.pem");
  const certificates = await Promise.all(
    ["tsa.pem", "root.pem"].map(async (name) => new X509Certificate(await readFile(at(name))).raw),
  );
  return {
    certificates,
    async stamp(query: Buffer): Promise<Buffer> {
      await writeFile(at("query"), query);
      const config = ["-config", "tsa.cnf", "-section", "tsa"];
      await openssl("ts", "-reply", ...config, "-queryfile", "query", "-out", "reply");
      return readFile(at("reply"));
    },
  };
}
