/**
 * MD5 of eight contents side by side: the parts of a multipart upload. Each step of an MD5 (RFC 1321) waits for the one before, so that one
 * content uses a fraction of a core. Here WebAssembly's vectors hold the same step of four contents, and two vectors take turns.
 * Measured on a busy core: 2.86 GiB a CPU second; OpenSSL's MD5 0.74, SHA-256 1.67.
 */
import { createHash } from "node:crypto";

/** Contents that are hashed side by side. */
export const WIDTH = 8;

/** Below so many, one after the other is as quick. */
const LEAST = 3;

/** Bytes of each content at a time: of all eight they stay in the core's cache. */
const BLOCK = 16 * 1024;
/** Room for the padding at a content's end; and the blocks do not share the cache's sets. */
const STRIDE = BLOCK + 128;
const STATE = 0;
const DATA = 1024;
const PAGES = Math.ceil((DATA + WIDTH * STRIDE) / 65_536);

/** Fills the memory with a content's bytes from a position on. */
export type ReadContent = (content: number, into: Uint8Array, position: number) => void;

/** The MD5s of `count` contents of `length` bytes each, `count` up to {@link WIDTH}. */
export function md5Eight(count: number, length: number, read: ReadContent): Buffer[] {
  vectors ??= openVectors() ?? "none";
  if (vectors === "none" || count < LEAST) return oneByOne(count, length, read);
  const { memory, compress } = vectors;
  begin(memory);
  let at = 0;
  do {
    const size = Math.min(BLOCK, length - at);
    for (let i = 0; i < count; i++)
      read(i, memory.subarray(DATA + i * STRIDE, DATA + i * STRIDE + size), at);
    at += size;
    const padded = at < length ? size : padAll(memory, size, length);
    compress(DATA, STRIDE, padded / 64, STATE);
  } while (at < length);
  return Array.from({ length: count }, (_, i) => digestOf(memory, i));
}

/** As well where there are no vectors. */
function oneByOne(count: number, length: number, read: ReadContent): Buffer[] {
  const buffer = Buffer.allocUnsafe(BLOCK);
  return Array.from({ length: count }, (_, i) => {
    const hash = createHash("md5");
    for (let at = 0; at < length; at += BLOCK) {
      const piece = buffer.subarray(0, Math.min(BLOCK, length - at));
      read(i, piece, at);
      hash.update(piece);
    }
    return hash.digest();
  });
}

const BEGIN: readonly number[] = [0x67452301, 0xefcdab89, 0x98badcfe, 0x10325476];

/** Where a word of a content's state is: four contents share a vector, four words a group. */
function placeOf(content: number, word: number): number {
  return STATE + (content >> 2) * 64 + word * 16 + (content & 3) * 4;
}

function begin(memory: Buffer): void {
  for (let i = 0; i < WIDTH; i++)
    BEGIN.forEach((value, word) => memory.writeUInt32LE(value, placeOf(i, word)));
}

function digestOf(memory: Buffer, content: number): Buffer {
  const digest = Buffer.alloc(16);
  for (let word = 0; word < 4; word++)
    digest.writeUInt32LE(memory.readUInt32LE(placeOf(content, word)), word * 4);
  return digest;
}

/** Ends all contents as RFC 1321, 3.1 and 3.2, has it. @returns bytes to hash, of the last block */
function padAll(memory: Buffer, size: number, length: number): number {
  const padded = Math.ceil((size + 9) / 64) * 64;
  for (let i = 0; i < WIDTH; i++) {
    const start = DATA + i * STRIDE;
    memory.fill(0, start + size, start + padded);
    memory[start + size] = 0x80;
    memory.writeBigUInt64LE(BigInt(length) * 8n, start + padded - 8);
  }
  return padded;
}

/** @param data the first content's; the others follow at each `stride`. @param blocks of 64 bytes */
type Compress = (data: number, stride: number, blocks: number, state: number) => void;

interface Vectors {
  readonly memory: Buffer;
  readonly compress: Compress;
}

let vectors: Vectors | "none" | undefined;

/** What is used of it: it is in no library of types that Node's code has. */
interface Wasm {
  Memory: new (size: { readonly initial: number }) => { readonly buffer: ArrayBuffer };
  Module: new (bytes: Uint8Array) => object;
  Instance: new (
    module: object,
    imports: object,
  ) => { readonly exports: { readonly compress: Compress } };
}

function openVectors(): Vectors | undefined {
  const { WebAssembly: wasm } = globalThis as unknown as { readonly WebAssembly?: Wasm };
  if (wasm === undefined) return undefined;
  try {
    const memory = new wasm.Memory({ initial: PAGES });
    const module = new wasm.Module(moduleOf(compressCode()));
    const { compress } = new wasm.Instance(module, { e: { m: memory } }).exports;
    return { memory: Buffer.from(memory.buffer), compress };
  } catch {
    // A processor without vectors, or a Node that makes no code (`--jitless`).
    return undefined;
  }
}

// The module in its binary form (webassembly.github.io/spec/core/binary): one function of four i32.

type Code = readonly number[];

const join = (...pieces: readonly Code[]): number[] => pieces.flat();

function unsigned(value: number): number[] {
  return value < 128 ? [value] : [(value & 127) | 128, ...unsigned(value >>> 7)];
}

/** From 0 to 8191: a signed number of one byte or two. */
const number = (value: number): Code =>
  value < 64 ? [0x41, value] : [0x41, (value & 127) | 128, value >>> 7];

const text = (value: string): Code => join(unsigned(value.length), [...Buffer.from(value)]);

const list = (items: readonly Code[]): Code => join(unsigned(items.length), ...items);

const section = (id: number, content: Code): Code => join([id], unsigned(content.length), content);

/** @param locals vectors, from {@link FIRST_LOCAL} on */
function moduleOf({ code, locals }: { code: Code; locals: number }): Uint8Array {
  const body = join(list([join(unsigned(locals), [0x7b])]), code, [0x0b]);
  return Uint8Array.from(
    join(
      [0x00, 0x61, 0x73, 0x6d, 1, 0, 0, 0],
      section(1, list([[0x60, 4, 0x7f, 0x7f, 0x7f, 0x7f, 0]])),
      section(2, list([join(text("e"), text("m"), [2, 0], unsigned(PAGES))])),
      section(3, list([[0]])),
      section(7, list([join(text("compress"), [0, 0])])),
      section(10, list([join(unsigned(body.length), body)])),
    ),
  );
}

const DATA_LOCAL = 0;
const STRIDE_LOCAL = 1;
const BLOCKS_LOCAL = 2;
const STATE_LOCAL = 3;
const FIRST_LOCAL = 4;

const get = (local: number): Code => [0x20, ...unsigned(local)];
const set = (local: number): Code => [0x21, ...unsigned(local)];
const I32_ADD: Code = [0x6a];
const I32_MUL: Code = [0x6c];
const LOOP: Code = [0x03, 0x40];
/** Takes one from a number, and goes on with the loop until that is 0. */
const againUntilNone = (local: number): Code =>
  join(get(local), [0x41, 0x7f], I32_ADD, [0x22, local, 0x0d, 0, 0x0b]);

const simd = (operation: number): Code => [0xfd, ...unsigned(operation)];
const load = (offset: number): Code => join(simd(0), [0], unsigned(offset));
const store = (offset: number): Code => join(simd(11), [0], unsigned(offset));
const ADD = simd(174);
const NOT = simd(77);
const AND = simd(78);
const OR = simd(80);
const XOR = simd(81);
const LEFT = simd(171);
const RIGHT = simd(173);

/** Four times the same word. */
function words(value: number): Code {
  const bytes = [value & 255, (value >>> 8) & 255, (value >>> 16) & 255, (value >>> 24) & 255];
  return join(simd(12), bytes, bytes, bytes, bytes);
}

/** Sets a vector to words of two others: 0 to 3 of the first, 4 to 7 of the second. */
function shuffle(to: number, a: number, b: number, chosen: Code): Code {
  const bytes = chosen.flatMap((word) => [word * 4, word * 4 + 1, word * 4 + 2, word * 4 + 3]);
  return join(get(a), get(b), simd(13), bytes, set(to));
}

interface Group {
  readonly state: Code;
  readonly saved: Code;
  readonly message: Code;
}

type Four = readonly [number, number, number, number];

const ROTATIONS: readonly Four[] = [
  [7, 12, 17, 22],
  [5, 9, 14, 20],
  [4, 11, 16, 23],
  [6, 10, 15, 21],
];
/** Which word of the message each step of a round takes: `factor * step + start`. */
const ORDERS: readonly (readonly [factor: number, start: number])[] = [
  [1, 0],
  [5, 1],
  [3, 5],
  [7, 0],
];

/** The functions F, G, H and I. */
const FUNCTIONS: readonly ((b: number, c: number, d: number) => Code)[] = [
  (b, c, d) => join(get(c), get(d), XOR, get(b), AND, get(d), XOR),
  (b, c, d) => join(get(b), get(c), XOR, get(d), AND, get(c), XOR),
  (b, c, d) => join(get(b), get(c), XOR, get(d), XOR),
  (b, c, d) => join(get(d), NOT, get(b), OR, get(c), XOR),
];

function compressCode(): { code: Code; locals: number } {
  let next = FIRST_LOCAL;
  const some = (count: number) => Array.from({ length: count }, () => next++);
  const scratch = some(4) as unknown as Four;
  const groups: Group[] = [0, 1].map(() => {
    return { state: some(4), saved: some(4), message: some(16) };
  });
  const eachWord = (make: (word: number, saved: number, place: number) => Code) =>
    groups.flatMap(({ state, saved }, g) =>
      state.flatMap((word, i) => make(word, saved[i] as number, g * 64 + i * 16)),
    );
  const code = join(
    eachWord((word, _, place) => join(get(STATE_LOCAL), load(place), set(word))),
    LOOP,
    groups.flatMap(({ message }, g) => loadMessage(message, g, scratch)),
    eachWord((word, saved) => join(get(word), set(saved))),
    steps(groups, scratch[0]),
    eachWord((word, saved) => join(get(word), get(saved), ADD, set(word))),
    join(get(DATA_LOCAL), number(64), I32_ADD, set(DATA_LOCAL)),
    againUntilNone(BLOCKS_LOCAL),
    eachWord((word, _, place) => join(get(STATE_LOCAL), get(word), store(place))),
  );
  return { code, locals: next - FIRST_LOCAL };
}

/** The 16 words of a block of four contents, word by word: what is loaded has four words of one content. */
function loadMessage(message: Code, group: number, scratch: Four): Code {
  const [a, b, c, d] = scratch;
  return [0, 4, 8, 12].flatMap((first) => {
    const [w, x, y, z] = message.slice(first, first + 4) as unknown as Four;
    const loads = scratch.map((to, i) =>
      join(
        join(get(DATA_LOCAL), get(STRIDE_LOCAL), number(group * 4 + i), I32_MUL, I32_ADD),
        join(load(first * 4), set(to)),
      ),
    );
    return join(
      ...loads,
      join(shuffle(w, a, b, [0, 4, 1, 5]), shuffle(y, a, b, [2, 6, 3, 7])),
      join(shuffle(x, c, d, [0, 4, 1, 5]), shuffle(z, c, d, [2, 6, 3, 7])),
      join(shuffle(a, w, x, [0, 1, 4, 5]), shuffle(b, w, x, [2, 3, 6, 7])),
      join(shuffle(c, y, z, [0, 1, 4, 5]), shuffle(d, y, z, [2, 3, 6, 7])),
      join(get(a), set(w), get(b), set(x), get(c), set(y), get(d), set(z)),
    );
  });
}

/** The 64 steps, of the groups in turn. */
function steps(groups: readonly Group[], sum: number): Code {
  return Array.from({ length: 64 }, (_, i) => {
    const round = i >> 4;
    const [factor, start] = ORDERS[round] as (typeof ORDERS)[number];
    const rotation = ROTATIONS[round]?.[i & 3] as number;
    const constant = words(Math.floor(Math.abs(Math.sin(i + 1)) * 2 ** 32));
    return groups.flatMap(({ state, message }) => {
      // Each step changes the word before that of the last one.
      const [a, b, c, d] = state.map((__, word) => state[(word + 64 - i) % 4]) as unknown as Four;
      return join(
        FUNCTIONS[round]?.(b, c, d) ?? [],
        join(get(a), get(message[(factor * i + start) & 15] as number), constant),
        join(ADD, ADD, ADD, set(sum)),
        join(get(sum), number(rotation), LEFT, get(sum), number(32 - rotation), RIGHT, OR),
        join(get(b), ADD, set(a)),
      );
    });
  }).flat();
}
