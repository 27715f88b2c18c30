/** The content of a file, as long as it is the version that was listed. */
import { type Body, type ByteRange, type FileEntry, quotePath, SourceError } from "@pannier/core";
import { type HttpClient, readPinned, sameVersion } from "@pannier/http-client";
import type { SignIn } from "./sign-in.ts";
import { pinOf } from "./version.ts";

/** Bytes up to which content is taken for sent at once. */
const AT_ONCE = 64 * 1024;

interface Reading {
  readonly client: HttpClient;
  readonly signIn: SignIn;
  readonly url: URL;
  readonly entry: FileEntry;
  readonly range: ByteRange | undefined;
  readonly signal: AbortSignal;
}

export async function readVersion(reading: Reading): Promise<Body> {
  const { client, signIn, url, entry, range, signal } = reading;
  const subject = quotePath(entry.path);
  const signed: HttpClient = {
    ...client,
    request: (asked, request = {}) =>
      signIn.request(client, new URL(asked), {
        subject,
        ...request,
        expect: (request.expect ?? []) as readonly number[],
      }),
  };
  const body = await readPinned(signed, url, pinOf(entry.fingerprint), entry.size, range, signal);
  if (!(body instanceof Uint8Array)) return checked(body, signed, reading);
  if (body.length > AT_ONCE) await check(signed, reading);
  return body;
}

async function* checked(
  body: AsyncIterable<Uint8Array>,
  signed: HttpClient,
  reading: Reading,
): AsyncGenerator<Uint8Array> {
  yield* body;
  await check(signed, reading);
}

/** A server reads a file while it sends it: one that is written in place meanwhile comes half old and half new, under the old ETag. */
async function check(signed: HttpClient, { url, entry, signal }: Reading): Promise<void> {
  const response = await signed.request(url, {
    method: "HEAD",
    expect: [200],
    operation: "check",
    signal,
  });
  await response.discard();
  const length = response.headers["content-length"];
  const sameSize =
    length === undefined || entry.size === undefined || Number(length) === entry.size;
  if (sameSize && sameVersion(response, pinOf(entry.fingerprint))) return;
  throw new SourceError("changed", `${quotePath(entry.path)} changed while it was read`);
}
