/** Secrets that callers show: read from their files at each use, compared in constant time. */
import { createHash, createHmac, timingSafeEqual } from "node:crypto";
import { readFile } from "node:fs/promises";

/** The content of a secret's file without the line break at its end; `undefined` where there is none, which no caller can match. */
export async function readSecret(file: string | undefined): Promise<string | undefined> {
  if (file === undefined) return undefined;
  try {
    const secret = (await readFile(file, "utf8")).trim();
    return secret === "" ? undefined : secret;
  } catch {
    return undefined;
  }
}

/** Digests are compared, so that not even the length of the secret shows in the time taken. */
export function isSame(given: string | undefined, secret: string | undefined): boolean {
  const equal = timingSafeEqual(digest(given ?? ""), digest(secret ?? ""));
  return equal && given !== undefined && secret !== undefined;
}

function digest(text: string): Buffer {
  return createHash("sha256").update(text).digest();
}

/** The token of an `Authorization: Bearer` header. */
export function bearer(header: string | undefined): string | undefined {
  return /^bearer +(\S+)$/i.exec(header?.trim() ?? "")?.[1];
}

/** Whether `sha256=…` is the HMAC of the body (https://docs.github.com/en/webhooks/using-webhooks/validating-webhook-deliveries). */
export function isSigned(
  body: Uint8Array,
  header: string | undefined,
  secret: string | undefined,
): boolean {
  if (secret === undefined) return false;
  return isSame(header, `sha256=${createHmac("sha256", secret).update(body).digest("hex")}`);
}
