/** Messages between an adapter and its helper process: JSON, with bytes behind it where there are any. */

const HEAD = 8;
/** What no message of ours comes near. */
const LARGEST = 1024 * 1024 * 1024;

/** A message as what is to be written: its lengths (four bytes each), its JSON, its bytes. */
export function encodeFrame(message: object, body?: Uint8Array): readonly Uint8Array[] {
  const json = Buffer.from(JSON.stringify(message));
  const head = Buffer.alloc(HEAD);
  head.writeUInt32LE(json.length, 0);
  head.writeUInt32LE(body?.length ?? 0, 4);
  return body === undefined ? [head, json] : [head, json, body];
}

/**
 * Takes in what comes, in whatever pieces, and gives out whole messages.
 *
 * @param onFrame gets bytes that nobody else has
 * @throws Error on what can be no message
 */
export function createFrameReader<Message>(
  onFrame: (message: Message, body: Buffer) => void,
): (chunk: Uint8Array) => void {
  const head = Buffer.alloc(HEAD);
  let json = Buffer.alloc(0);
  let body = Buffer.alloc(0);
  let part: "head" | "json" | "body" = "head";
  let filled = 0;

  function target(): Buffer {
    return part === "head" ? head : part === "json" ? json : body;
  }

  function partDone(): void {
    filled = 0;
    if (part === "head") {
      const [jsonLength, bodyLength] = [head.readUInt32LE(0), head.readUInt32LE(4)];
      if (jsonLength + bodyLength > LARGEST) throw new Error("this is not a message");
      json = Buffer.allocUnsafe(jsonLength);
      body = Buffer.allocUnsafe(bodyLength);
      part = "json";
    } else if (part === "json") {
      part = "body";
    } else {
      part = "head";
      onFrame(JSON.parse(json.toString()) as Message, body);
    }
  }

  return (chunk) => {
    let at = 0;
    do {
      const count = Math.min(target().length - filled, chunk.length - at);
      target().set(chunk.subarray(at, at + count), filled);
      filled += count;
      at += count;
      while (filled === target().length) partDone();
    } while (at < chunk.length);
  };
}
