/**
 * Whole small files over SFTP (draft-ietf-secsh-filexfer-02), many at once, without a promise for any step: what is asked of one file goes out in two turns,
 * OPEN, and then READ, FSTAT and CLOSE together, and what is asked in one turn goes out in as few packets of ssh as it fits into.
 */
import type { Attributes } from "ssh2";

const [INIT, VERSION, OPEN, CLOSE, READ, FSTAT] = [1, 2, 3, 4, 5, 8];
const [STATUS, HANDLE, DATA, ATTRS] = [101, 102, 103, 105];
const PROTOCOL = 3;
const TO_READ = 1;

/** Bytes of a packet around what was asked for: handles have up to 256, and a status some words. */
const AROUND = 4096;
/** Type and number, which all answers begin with. */
const HEAD = 5;
/** Bytes of the memory for a file, at least. */
const LEAST_MEMORY = 16 * 1024;

const EMPTY = Buffer.alloc(0);
const NO_ATTRIBUTES = uint32(0);

interface WantedFile {
  /** On the server. */
  readonly path: string;
  /** Bytes. */
  readonly size: number;
  /**
   * Takes the content, to be copied, and what the server says of the file after it was read. `undefined`: it did not come, or not as plainly as it
   * should.
   */
  done(content: Uint8Array | undefined, sent: Partial<Attributes>): void;
}

export interface LaneFiles {
  /** Files that are asked for. */
  readonly underWay: number;
  fetch(wanted: WantedFile): void;
  /** Takes what came, in whatever pieces. False where it can be no answer to what was asked: nothing is to be asked any more. */
  take(bytes: Buffer): boolean;
  /** Leaves what is under way. */
  abandon(): void;
}

/** False where it is no answer to that. @param packet from its type on; the caller's again when it returns */
type Take = (type: number, packet: Buffer) => boolean;

export interface LaneFilesInit {
  /** Bytes that one READ may ask for. */
  readonly readSize: number;
  /** @param bytes nobody else's */
  readonly write: (bytes: Buffer) => void;
  /** Once the server speaks the protocol. */
  readonly onReady: () => void;
  /** A whole answer came. */
  readonly onAnswer: () => void;
}

/** Says hello at once. */
export function createLaneFiles({ readSize, write, onReady, onAnswer }: LaneFilesInit): LaneFiles {
  /** For answers, by the numbers of what was asked. */
  const owed = new Map<number, Take>();
  const underWay = new Set<WantedFile>();
  const memories: Buffer[] = [];
  const packets = createPackets(readSize + AROUND, takePacket);
  let outgoing: Buffer[] = [];
  let lastId = 0;
  let isReady = false;
  send(INIT, PROTOCOL, []);

  function send(type: number, id: number, parts: readonly Buffer[]): void {
    // After all that came in one piece of the connection, which asks for more.
    if (outgoing.length === 0) process.nextTick(flush);
    outgoing.push(packetOf(type, id, parts));
  }

  function flush(): void {
    const all = outgoing;
    outgoing = [];
    write(all.length === 1 ? (all[0] as Buffer) : Buffer.concat(all));
  }

  function ask(type: number, parts: readonly Buffer[], take: Take): void {
    lastId = (lastId + 1) >>> 0;
    owed.set(lastId, take);
    send(type, lastId, parts);
  }

  function takePacket(packet: Buffer): boolean {
    const type = packet[0] as number;
    const id = packet.readUInt32BE(1);
    if (!isReady) {
      isReady = type === VERSION && id === PROTOCOL;
      if (isReady) onReady();
      return isReady;
    }
    const take = owed.get(id);
    owed.delete(id);
    onAnswer();
    return take?.(type, packet) ?? false;
  }

  function fetch(wanted: WantedFile): void {
    const { path, size } = wanted;
    const memory = memoryFor(size);
    let answers = 1;
    let got = 0;
    let sent: Partial<Attributes> | undefined;
    underWay.add(wanted);

    function answered(): true {
      if (--answers > 0 || !underWay.delete(wanted)) return true;
      const isWhole = got === size && sent !== undefined;
      wanted.done(isWhole ? memory.subarray(0, size) : undefined, sent ?? {});
      memories.push(memory);
      return true;
    }

    function askFor(handle: Buffer): void {
      const at = Buffer.concat([uint32(handle.length), handle]);
      for (let from = 0; from < size; from += readSize) {
        const length = Math.min(readSize, size - from);
        answers++;
        ask(READ, [at, uint64(from), uint32(length)], (type, packet) => {
          if (type !== DATA) return type === STATUS && answered();
          const data = textAt(packet, HEAD);
          // Less than was asked for is the end of the file, or for who asks again.
          if (data?.length === length && underWay.has(wanted)) {
            memory.set(data, from);
            got += length;
          }
          return data !== undefined && answered();
        });
      }
      answers += 2;
      ask(FSTAT, [at], (type, packet) => {
        if (type !== ATTRS) return type === STATUS && answered();
        sent = attributesAt(packet, HEAD);
        return sent !== undefined && answered();
      });
      ask(CLOSE, [at], (type) => type === STATUS && answered());
    }

    ask(OPEN, [textOf(path), uint32(TO_READ), NO_ATTRIBUTES], (type, packet) => {
      if (type !== HANDLE) return type === STATUS && answered();
      const handle = textAt(packet, HEAD);
      if (handle === undefined) return false;
      askFor(handle);
      return answered();
    });
  }

  function memoryFor(size: number): Buffer {
    const free = memories.pop() ?? EMPTY;
    if (free.length >= size) return free;
    return Buffer.allocUnsafeSlow(Math.max(LEAST_MEMORY, 2 ** Math.ceil(Math.log2(size))));
  }

  return {
    get underWay() {
      return underWay.size;
    },
    fetch,
    take: packets,
    abandon() {
      const left = [...underWay];
      underWay.clear();
      owed.clear();
      for (const { done } of left) done(undefined, {});
    },
  };
}

/** Takes in pieces, and gives out whole packets. */
function createPackets(
  longest: number,
  take: (packet: Buffer) => boolean,
): (bytes: Buffer) => boolean {
  /** Of a packet that comes in pieces. */
  const memory = Buffer.allocUnsafeSlow(4 + longest);
  let filled = 0;
  const isLength = (length: number) => length >= HEAD && length <= longest;
  return (bytes) => {
    for (let at = 0; at < bytes.length;) {
      const rest = bytes.length - at;
      if (filled === 0 && rest >= 4) {
        const length = bytes.readUInt32BE(at);
        if (!isLength(length)) return false;
        if (rest >= 4 + length) {
          if (!take(bytes.subarray(at + 4, at + 4 + length))) return false;
          at += 4 + length;
          continue;
        }
      }
      const length = filled < 4 ? undefined : memory.readUInt32BE(0);
      if (length !== undefined && !isLength(length)) return false;
      const wanted = 4 + (length ?? 0);
      const count = Math.min(wanted - filled, rest);
      memory.set(bytes.subarray(at, at + count), filled);
      filled += count;
      at += count;
      if (length === undefined || filled < wanted) continue;
      filled = 0;
      if (!take(memory.subarray(4, wanted))) return false;
    }
    return true;
  };
}

function packetOf(type: number, id: number, parts: readonly Buffer[]): Buffer {
  const length = parts.reduce((sum, part) => sum + part.length, HEAD);
  const packet = Buffer.allocUnsafe(4 + length);
  packet.writeUInt32BE(length, 0);
  packet[4] = type;
  packet.writeUInt32BE(id, 5);
  let at = 4 + HEAD;
  for (const part of parts) {
    packet.set(part, at);
    at += part.length;
  }
  return packet;
}

function textOf(text: string): Buffer {
  const length = Buffer.byteLength(text);
  const bytes = Buffer.allocUnsafe(4 + length);
  bytes.writeUInt32BE(length, 0);
  bytes.write(text, 4, "utf8");
  return bytes;
}

/** @returns `undefined` where the packet ends before it does */
function textAt(packet: Buffer, at: number): Buffer | undefined {
  const from = at + 4;
  if (packet.length < from) return undefined;
  const to = from + packet.readUInt32BE(at);
  return to > packet.length ? undefined : packet.subarray(from, to);
}

/** @returns those that were sent; `undefined` where the packet ends before they do */
function attributesAt(packet: Buffer, start: number): Partial<Attributes> | undefined {
  const [SIZE, OWNER, PERMISSIONS, TIMES] = [1, 2, 4, 8];
  if (packet.length < start + 4) return undefined;
  const flags = packet.readUInt32BE(start);
  let at = start + 4;
  const next = () => {
    const value = at + 4 > packet.length ? Number.NaN : packet.readUInt32BE(at);
    at += 4;
    return value;
  };
  const size = (flags & SIZE) === 0 ? undefined : next() * 2 ** 32 + next();
  if ((flags & OWNER) !== 0) at += 8;
  const mode = (flags & PERMISSIONS) === 0 ? undefined : next();
  if ((flags & TIMES) !== 0) at += 4;
  const mtime = (flags & TIMES) === 0 ? undefined : next();
  if (at > packet.length) return undefined;
  return {
    ...(size !== undefined && { size }),
    ...(mode !== undefined && { mode }),
    ...(mtime !== undefined && { mtime }),
  };
}

function uint32(value: number): Buffer {
  const bytes = Buffer.allocUnsafe(4);
  bytes.writeUInt32BE(value, 0);
  return bytes;
}

function uint64(value: number): Buffer {
  return Buffer.concat([uint32(Math.floor(value / 2 ** 32)), uint32(value >>> 0)]);
}
