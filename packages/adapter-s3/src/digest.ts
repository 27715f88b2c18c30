/** What an answer vouches for. */
import type { Digest, DigestAlgorithm } from "@pannier/core/adapter";
import type { HttpResponse } from "@pannier/http-client";

type Headers = HttpResponse["headers"];

type Checksums = readonly (readonly [header: string, algorithm: DigestAlgorithm])[];

/** In the order of what they cost: SHA-256 is taken anyway. */
const QUICK: Checksums = [
  ["x-amz-checksum-sha256", "sha256"],
  ["x-amz-checksum-crc32", "crc32"],
];
/** The CRCs take several times what the MD5s of parts take, which the engine hashes side by side. */
const SLOW: Checksums = [
  ["x-amz-checksum-crc32c", "crc32c"],
  ["x-amz-checksum-crc64nvme", "crc64nvme"],
  ["x-amz-checksum-sha1", "sha1"],
];
const CHECKSUMS: Checksums = [...QUICK, ...SLOW];

export function isQuick({ algorithm }: Digest): boolean {
  return QUICK.some(([, quick]) => quick === algorithm);
}

/**
 * The digest of a whole object, from the answer to a GET or HEAD of the whole. What is of parts is left to
 * {@link compositeOf}.
 *
 * @see https://docs.aws.amazon.com/AmazonS3/latest/userguide/checking-object-integrity.html
 */
export function wholeDigest(headers: Headers): Digest | undefined {
  for (const [header, algorithm] of CHECKSUMS) {
    const value = headers[header];
    if (value === undefined || value.includes("-")) continue;
    if (headers["x-amz-checksum-type"] === "COMPOSITE") continue;
    return { algorithm, value: toHex(value) };
  }
  return etagDigest(headers);
}

/** The MD5 that the ETag of an object is which was uploaded in one piece, unless it is encrypted by a key of KMS or the customer's. */
export function etagDigest(headers: Headers): Digest | undefined {
  const value = etagOf(headers);
  return /^[0-9a-f]{32}$/.test(value) && isPlain(headers) ? { algorithm: "md5", value } : undefined;
}

/** How many parts an object was uploaded in, from its ETag; `undefined` for one piece. */
export function partsOf(etag: string): number | undefined {
  const parts = /^[0-9a-f]{32}-(\d{1,5})$/.exec(etag)?.[1];
  return parts === undefined ? undefined : Number(parts);
}

/** The digest of the parts' digests. */
export function compositeOf(headers: Headers, partSize: number): Digest | undefined {
  const value = /^([0-9a-f]{32})-\d+$/.exec(etagOf(headers))?.[1];
  const hasMd5 = value !== undefined && isPlain(headers);
  for (const [header, algorithm] of hasMd5 ? QUICK : CHECKSUMS) {
    const checksum = /^([A-Za-z0-9+/=]+)-\d+$/.exec(headers[header] ?? "")?.[1];
    if (checksum !== undefined) return { algorithm, value: toHex(checksum), partSize };
  }
  return hasMd5 ? { algorithm: "md5", value, partSize } : undefined;
}

function etagOf(headers: Headers): string {
  return (headers["etag"] ?? "").replaceAll('"', "");
}

function isPlain(headers: Headers): boolean {
  const encryption = headers["x-amz-server-side-encryption"] ?? "AES256";
  return (
    encryption === "AES256" &&
    headers["x-amz-server-side-encryption-customer-algorithm"] === undefined
  );
}

function toHex(base64: string): string {
  return Buffer.from(base64, "base64").toString("hex");
}
