import type { IncomingMessage } from "node:http";

/** Reads a request's body; `undefined` where it is longer than `limit` bytes, which is found out without reading on. */
export async function readBody(
  request: IncomingMessage,
  limit: number,
): Promise<Uint8Array | undefined> {
  if (Number(request.headers["content-length"] ?? 0) > limit) return undefined;
  const parts: Uint8Array[] = [];
  let length = 0;
  for await (const part of request as AsyncIterable<Uint8Array>) {
    length += part.length;
    if (length > limit) return undefined;
    parts.push(part);
  }
  return Buffer.concat(parts);
}
