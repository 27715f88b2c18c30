/** Digest access authentication: RFC 7616, and RFC 2617 for servers that know no `qop`. */
import { createHash, randomBytes } from "node:crypto";

export interface DigestChallenge {
  readonly realm: string;
  readonly nonce: string;
  readonly opaque: string | undefined;
  readonly algorithm: string;
  readonly hash: "md5" | "sha256";
  /** False for servers of the older kind. */
  readonly qop: boolean;
}

/** The challenge in a `WWW-Authenticate` header that we can answer; the stronger one where there are two. */
export function parseDigest(header: string): DigestChallenge | undefined {
  const found: DigestChallenge[] = [];
  for (const [, text = ""] of header.matchAll(
    /\bDigest\s+((?:[\w-]+\s*=\s*(?:"(?:[^"\\]|\\.)*"|[^\s,"]+)\s*,?\s*)+)/gi,
  )) {
    const fields = new Map<string, string>();
    for (const [, name = "", quoted, plain = ""] of text.matchAll(
      /([\w-]+)\s*=\s*(?:"((?:[^"\\]|\\.)*)"|([^\s,"]+))/g,
    )) {
      fields.set(name.toLowerCase(), quoted?.replace(/\\(.)/g, "$1") ?? plain);
    }
    const algorithm = fields.get("algorithm") ?? "MD5";
    const hash = /^MD5(-sess)?$/i.test(algorithm)
      ? "md5"
      : /^SHA-256(-sess)?$/i.test(algorithm)
        ? "sha256"
        : undefined;
    const [realm, nonce, qop] = [fields.get("realm"), fields.get("nonce"), fields.get("qop")];
    const answerable = qop === undefined || qop.split(",").some((one) => one.trim() === "auth");
    if (hash === undefined || realm === undefined || nonce === undefined || !answerable) continue;
    found.push({
      realm,
      nonce,
      opaque: fields.get("opaque"),
      algorithm,
      hash,
      qop: qop !== undefined,
    });
  }
  return found.find(({ hash }) => hash === "sha256") ?? found[0];
}

/**
 * The `Authorization` of one request.
 *
 * @param count of the requests answered with this nonce, from 1
 */
export function answerDigest(
  challenge: DigestChallenge,
  { username, password }: { readonly username: string; readonly password: string },
  method: string,
  uri: string,
  count: number,
  cnonce = randomBytes(12).toString("hex"),
): string {
  const { realm, nonce, opaque, algorithm, qop } = challenge;
  const hash = (text: string) => createHash(challenge.hash).update(text).digest("hex");
  const own = hash(`${username}:${realm}:${password}`);
  const key = /-sess$/i.test(algorithm) ? hash(`${own}:${nonce}:${cnonce}`) : own;
  const request = hash(`${method}:${uri}`);
  const nc = count.toString(16).padStart(8, "0");
  const response = hash(
    qop ? `${key}:${nonce}:${nc}:${cnonce}:auth:${request}` : `${key}:${nonce}:${request}`,
  );
  return [
    `Digest username=${quote(username)}`,
    `realm=${quote(realm)}`,
    `nonce=${quote(nonce)}`,
    `uri=${quote(uri)}`,
    `algorithm=${algorithm}`,
    `response="${response}"`,
    ...(opaque === undefined ? [] : [`opaque=${quote(opaque)}`]),
    ...(qop ? [`qop=auth, nc=${nc}, cnonce="${cnonce}"`] : []),
  ].join(", ");
}

function quote(text: string): string {
  return `"${text.replace(/["\\]/g, "\\$&")}"`;
}
