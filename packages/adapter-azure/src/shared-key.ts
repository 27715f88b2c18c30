/**
 * Signing requests with an account's key: Shared Key, version 2015-02-21 and later.
 * https://learn.microsoft.com/rest/api/storageservices/authorize-with-shared-key
 */
import { createHmac } from "node:crypto";

/** A request as it will be sent. */
export interface SignableRequest {
  readonly method: string;
  /** Signed as it is encoded here. */
  readonly url: URL;
  /** By lower-case name; `x-ms-date` among them. */
  readonly headers: Readonly<Record<string, string>>;
}

/** Those that are signed whether they are there or not, in this order. `Date` stays empty where there is an `x-ms-date`. */
const STANDARD_HEADERS = [
  "content-encoding",
  "content-language",
  "content-length",
  "content-md5",
  "content-type",
  "date",
  "if-modified-since",
  "if-match",
  "if-none-match",
  "if-unmodified-since",
  "range",
] as const;

/**
 * The value of `Authorization` for a request without a body.
 *
 * @param key in Base64
 */
export function sharedKeyAuthorization(
  account: string,
  key: string,
  request: SignableRequest,
): string {
  const signature = createHmac("sha256", Buffer.from(key, "base64"))
    .update(stringToSign(account, request), "utf8")
    .digest("base64");
  return `SharedKey ${account}:${signature}`;
}

/** What the signature is made of. */
export function stringToSign(account: string, { method, url, headers }: SignableRequest): string {
  return [
    method,
    ...STANDARD_HEADERS.map((name) => headers[name] ?? ""),
    ...canonicalHeaders(headers),
    // An emulator has the account in its path as well, and it is signed twice.
    `/${account}${url.pathname}`,
    ...canonicalQuery(url),
  ].join("\n");
}

function canonicalHeaders(headers: SignableRequest["headers"]): string[] {
  return Object.keys(headers)
    .filter((name) => name.startsWith("x-ms-"))
    .toSorted()
    .map((name) => `${name}:${headers[name]?.trim()}`);
}

/** Names in lower case and sorted, values decoded, those of a repeated name sorted and joined. */
function canonicalQuery({ searchParams }: URL): string[] {
  const values = new Map<string, string[]>();
  for (const [name, value] of searchParams) {
    const key = name.toLowerCase();
    values.set(key, [...(values.get(key) ?? []), value]);
  }
  return [...values]
    .toSorted(([a], [b]) => (a < b ? -1 : 1))
    .map(([name, all]) => `${name}:${all.toSorted().join(",")}`);
}
