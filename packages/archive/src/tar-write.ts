/** Writes headers of tar archives: ustar, with pax where that has no room (POSIX.1-2017, pax). */
import { BLOCK } from "./tar-header.ts";

export interface TarMember {
  readonly name: string;
  readonly mode: number;
  readonly size: number;
  /** Of a symlink. */
  readonly target?: string | undefined;
}

/** What ends an archive. */
export const TAR_END: Buffer = Buffer.alloc(2 * BLOCK);

/** Bytes of zeros behind the content of a member. */
export function tarPadding(size: number): number {
  return (BLOCK - (size % BLOCK)) % BLOCK;
}

/** What size fits into eleven octal digits. */
const MOST_OCTAL = 8 ** 11 - 1;

/** The header of a member, with what describes it before. Owner and time are zero: the same tree gives the same bytes. */
export function tarHeader({ name, mode, size, target = "" }: TarMember): Buffer {
  const records = [
    ...(fits(name) ? [] : [paxRecord("path", name)]),
    ...(fits(target) ? [] : [paxRecord("linkpath", target)]),
    ...(size <= MOST_OCTAL ? [] : [paxRecord("size", String(size))]),
  ];
  const type = target === "" ? "0" : "2";
  const own = header({
    name: cut(name),
    mode,
    size: Math.min(size, MOST_OCTAL),
    type,
    target: cut(target),
  });
  if (records.length === 0) return own;
  const pax = Buffer.concat(records);
  return Buffer.concat([
    header({ name: "pax", mode: 0o644, size: pax.byteLength, type: "x", target: "" }),
    pax,
    Buffer.alloc(tarPadding(pax.byteLength)),
    own,
  ]);
}

const FIELD = 100;

/** What is not ASCII means the same everywhere only in pax. */
function fits(text: string): boolean {
  return Buffer.byteLength(text) <= FIELD && /^[\x20-\x7e]*$/.test(text);
}

function cut(text: string): string {
  return text.replaceAll(/[^\x20-\x7e]/g, "_").slice(0, FIELD);
}

/** A record begins with its own length. */
function paxRecord(key: string, value: string): Buffer {
  const rest = Buffer.byteLength(` ${key}=${value}\n`);
  let length = rest + String(rest).length;
  if (rest + String(length).length !== length) length = rest + String(length).length;
  return Buffer.from(`${length} ${key}=${value}\n`);
}

/** What all headers have in common: owner and time, and blanks in place of the sum. */
const TEMPLATE = Buffer.alloc(BLOCK);
TEMPLATE.write("0000000\0".repeat(3), 100, "latin1");
TEMPLATE.write("00000000000\0".repeat(2), 124, "latin1");
TEMPLATE.fill(" ", 148, 156);
TEMPLATE.write(`ustar\0${"00"}`, 257, "latin1");

function header(init: {
  readonly name: string;
  readonly mode: number;
  readonly size: number;
  readonly type: string;
  readonly target: string;
}): Buffer {
  const block = Buffer.from(TEMPLATE);
  block.write(init.name, 0, "latin1");
  writeOctal(block, init.mode & 0o7777, 100, 7);
  writeOctal(block, init.size, 124, 11);
  block[156] = init.type.charCodeAt(0);
  if (init.target !== "") block.write(init.target, 157, "latin1");
  let sum = 0;
  for (let at = 0; at < BLOCK; at++) sum += block[at] as number;
  writeOctal(block, sum, 148, 6);
  block[154] = 0;
  return block;
}

function writeOctal(block: Buffer, value: number, at: number, digits: number): void {
  for (let rest = value, place = at + digits - 1; place >= at; place--) {
    block[place] = ZERO + (rest % 8);
    rest = Math.floor(rest / 8);
  }
}

const ZERO = 0x30;
