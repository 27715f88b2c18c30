/** Secrets that callers show: read from their files at each use, compared in constant time. */
import { createHash, timingSafeEqual } from "node:crypto";
import { readFile } from "node:fs/promises";

/** The content of a secret's file without the line break at its end; `undefined` where there is none, which no caller can match. */
export function readSecret(file: string | undefined): Promise<string | undefined> {
  if (file === undefined) return Promise.resolve(undefined);
  const under = reading.get(file) ?? readFrom(file).finally(() => reading.delete(file));
  reading.set(file, under);
  return under;
}

/** Those that ask while a file is being read share what is read. */
const reading = new Map<string, Promise<string | undefined>>();

async function readFrom(file: string): Promise<string | undefined> {
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

/** The password of an `Authorization: Basic` header, whoever it is of. */
export function basicPassword(header: string | undefined): string | undefined {
  const encoded = /^basic +(\S+)$/i.exec(header?.trim() ?? "")?.[1];
  if (encoded === undefined) return undefined;
  return /^[^:]*:(.*)$/s.exec(Buffer.from(encoded, "base64").toString())?.[1];
}
