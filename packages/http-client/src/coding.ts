/** Content that a server sends compressed although we ask it not to. */
import { pipeline, Readable, type Transform } from "node:stream";
import { SourceError } from "@pannier/core/adapter";
import type { HttpResponse } from "./response.ts";

/** Names under which what is stored compressed is meant to be so. */
const COMPRESSED = /\.(t?gz|gzip|z|tgz|svgz|br|zst|tzst|deflate)$/i;

/**
 * The body as plain bytes. A text that is to be understood may come compressed from servers that do not ask what we accept.
 *
 * @throws SourceError `unsupported` where it has a coding that is not known here
 */
export async function plainBody(
  response: Pick<HttpResponse, "headers" | "body">,
): Promise<AsyncIterable<Uint8Array>> {
  const coding = codingOf(response);
  return coding === undefined ? response.body : decoded(response.body, coding);
}

/** The body of a file as it is stored: plain again, where it was compressed for this answer alone. */
export async function storedBody(response: HttpResponse): Promise<AsyncIterable<Uint8Array>> {
  return isCompressedOnTheWay(response) ? plainBody(response) : response.body;
}

/** It then has no length of its own, and a name that does not speak of it. What is stored compressed stays so. */
export function isCompressedOnTheWay({ status, headers, url }: HttpResponse): boolean {
  return (
    status === 200 &&
    codingOf({ headers }) !== undefined &&
    headers["content-length"] === undefined &&
    !COMPRESSED.test(url.pathname)
  );
}

function codingOf({ headers }: Pick<HttpResponse, "headers">): string | undefined {
  const coding = (headers["content-encoding"] ?? "").trim().toLowerCase();
  return coding === "" || coding === "identity" ? undefined : coding;
}

async function* decoded(
  body: AsyncIterable<Uint8Array>,
  coding: string,
): AsyncGenerator<Uint8Array> {
  const decoder = await decoderOf(coding);
  // The error is the iterator's to throw; a body that fails first is the reason.
  let failure: unknown;
  const source = Readable.from(
    (async function* watched() {
      try {
        yield* body;
      } catch (error) {
        failure = error;
        throw error;
      }
    })(),
    { objectMode: false },
  );
  pipeline(source, decoder, () => {});
  try {
    yield* decoder as AsyncIterable<Uint8Array>;
  } catch (error) {
    if (failure !== undefined) throw failure;
    throw new SourceError("invalid", `the answer is not what its coding (${coding}) says`, {
      cause: error,
    });
  }
}

async function decoderOf(coding: string): Promise<Transform> {
  const zlib = await import("node:zlib");
  if (coding === "gzip" || coding === "x-gzip") return zlib.createGunzip();
  if (coding === "deflate") return zlib.createInflate();
  if (coding === "br") return zlib.createBrotliDecompress();
  throw new SourceError(
    "unsupported",
    `the server sends it compressed as ${JSON.stringify(coding.slice(0, 50))}, though it was asked not to`,
  );
}
