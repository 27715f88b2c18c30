/** Secrets that callers show: read from their files at each use, compared in constant time. */
import { createHash, timingSafeEqual } from "node:crypto";
import { readSecret, readToken } from "@pannier/core";

type Read = typeof readSecret;

/** What a secret's file holds; `undefined` where there is none that can be read, which no caller can match. */
export function secretOf(file: string | undefined): Promise<string | undefined> {
  return shared(file, readSecret, "secret file");
}

/** The same for a token. */
export function tokenOf(file: string | undefined): Promise<string | undefined> {
  return shared(file, readToken, "token file");
}

/** Those that ask while a file is being read share what is read. */
const reading = new Map<string, Promise<string | undefined>>();

function shared(file: string | undefined, read: Read, what: string): Promise<string | undefined> {
  if (file === undefined) return Promise.resolve(undefined);
  const key = `${what} ${file}`;
  const begin = () =>
    read(file, what)
      .catch(() => undefined)
      .finally(() => reading.delete(key));
  const under = reading.get(key) ?? begin();
  reading.set(key, under);
  return under;
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
