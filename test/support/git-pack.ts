/** Packs made by hand, and answers that hold them: what no git server would send. */
import { createHash } from "node:crypto";
import type { IncomingMessage, ServerResponse } from "node:http";
import { Readable } from "node:stream";
import { pipeline } from "node:stream/promises";
import { deflateSync } from "node:zlib";

export interface PackObject {
  readonly type: "commit" | "tree" | "blob" | "delta";
  readonly data: Uint8Array;
  /** Of a delta: the id of what it is against. */
  readonly base?: string;
}

const TYPES = { commit: 1, tree: 2, blob: 3, delta: 7 };

/** The id of an object. */
export function objectId(type: string, data: Uint8Array): string {
  return createHash("sha1").update(`${type} ${data.length}\0`).update(data).digest("hex");
}

/** The start of an object's entry in a pack. */
export function entryHead(type: PackObject["type"], length: number): Buffer {
  const head: number[] = [];
  let byte = (TYPES[type] << 4) | (length & 15);
  for (let rest = Math.floor(length / 16); ; rest = Math.floor(rest / 128)) {
    if (rest === 0) break;
    head.push(byte | 128);
    byte = rest % 128;
  }
  return Buffer.from([...head, byte]);
}

/** The start of a pack. */
export function packHead(objects: number): Buffer {
  const head = Buffer.from("PACK\0\0\0\x02\0\0\0\0", "latin1");
  head.writeUInt32BE(objects, 8);
  return head;
}

/** A pack of these objects: https://git-scm.com/docs/gitformat-pack */
export function packOf(objects: readonly PackObject[]): Buffer {
  const body = Buffer.concat([
    packHead(objects.length),
    ...objects.flatMap(({ type, data, base }) => [
      entryHead(type, data.length),
      Buffer.from(base ?? "", "hex"),
      deflateSync(data),
    ]),
  ]);
  return Buffer.concat([body, createHash("sha1").update(body).digest()]);
}

/** A commit of a tree. */
export function commitOf(tree: string): PackObject {
  const text = `tree ${tree}\nauthor A <a> 1 +0000\ncommitter A <a> 1 +0000\n\nx\n`;
  return { type: "commit", data: Buffer.from(text) };
}

/** A payload as a packet. */
export function packet(payload: string | Uint8Array): Buffer {
  const bytes = Buffer.from(payload as string);
  const length = (bytes.length + 4).toString(16).padStart(4, "0");
  return Buffer.concat([Buffer.from(length), bytes]);
}

/** Bytes on a band: 1 for the pack, 2 for progress, 3 for the last words. */
function* onBand(band: number, bytes: Uint8Array): Generator<Buffer> {
  for (let at = 0; at < bytes.length; at += 65_000)
    yield packet(Buffer.concat([Buffer.from([band]), bytes.subarray(at, at + 65_000)]));
}

/** What a request of protocol 2 asks for; `undefined` for any other request. */
export async function commandOf(request: IncomingMessage): Promise<string | undefined> {
  const parts: Buffer[] = [];
  for await (const part of request) parts.push(part as Buffer);
  return /command=([a-z-]+)/.exec(Buffer.concat(parts).toString("latin1"))?.[1];
}

/** Answers a request of protocol 2 as a server of one branch would; the pack is whatever is given. */
export async function answerFetch(
  request: IncomingMessage,
  response: ServerResponse,
  commit: string,
  pack: AsyncIterable<Uint8Array> | Iterable<Uint8Array>,
): Promise<void> {
  const command = await commandOf(request);
  response.setHeader("content-type", "application/x-git-upload-pack-result");
  if (command === "ls-refs") {
    const refs = ["HEAD", "refs/heads/main"].map((name) => packet(`${commit} ${name}\n`));
    response.end(Buffer.concat([...refs, Buffer.from("0000")]));
    return;
  }
  const pieces = async function* () {
    yield packet("packfile\n");
    for await (const part of pack) yield* onBand(1, part);
    yield Buffer.from("0000");
  };
  // The client may give up.
  await pipeline(Readable.from(pieces()), response).catch(() => {});
}
