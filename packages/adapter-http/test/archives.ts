/** Makes archives, sane ones and others. */
import { buffer } from "node:stream/consumers";
import { crc32, deflateRawSync } from "node:zlib";
import { type Header, pack } from "tar-stream";

export type TarMember = Partial<Header> & { name: string; content?: string | Uint8Array };

/** A tar archive; names and links are written as they are. */
export async function makeTar(members: readonly TarMember[]): Promise<Buffer> {
  const archive = pack();
  for (const { content = "", ...header } of members) {
    archive.entry({ mtime: new Date(1_700_000_000_000), ...header }, Buffer.from(content));
  }
  archive.finalize();
  return buffer(archive as unknown as AsyncIterable<Buffer>);
}

export interface ZipMember {
  /** UTF-8, or the bytes as they are. */
  readonly name: string | Uint8Array;
  readonly content?: string | Uint8Array;
  /** Unix mode with type bits. */
  readonly mode?: number;
  /** Of the system that made it: 3 is Unix, which is the default, 0 is MS-DOS. */
  readonly system?: number;
  /** Of MS-DOS. */
  readonly attributes?: number;
  readonly flags?: number;
  readonly method?: number;
  /** Replaces the true one. */
  readonly crc?: number;
  /** Replaces the true uncompressed size. */
  readonly size?: number;
  /** Replaces the packed content. */
  readonly packed?: Uint8Array;
  /** Replaces where it is, as only zip64 can tell. */
  readonly offset?: bigint;
}

interface ZipShape {
  /** Put in front, and counted by the offsets. */
  readonly prefix?: Uint8Array;
  readonly zip64?: boolean;
  /** Replaces the true number of members. */
  readonly told?: number;
}

function zip64Offset(offset: bigint): Buffer {
  const extra = Buffer.alloc(12);
  extra.writeUInt16LE(1, 0);
  extra.writeUInt16LE(8, 2);
  extra.writeBigUInt64LE(offset, 4);
  return extra;
}

/** A zip archive (APPNOTE.TXT 4.3). */
export function makeZip(
  members: readonly ZipMember[],
  { prefix = Buffer.alloc(0), zip64 = false, told: count = members.length }: ZipShape = {},
): Buffer {
  const parts: Buffer[] = [Buffer.from(prefix)];
  const directory: Buffer[] = [];
  let offset = prefix.byteLength;
  for (const member of members) {
    const content = Buffer.from(member.content ?? "");
    const { method = 8, flags = 0x800, mode = 0o100644, system = 3, attributes = 0 } = member;
    const data = Buffer.from(member.packed ?? (method === 8 ? deflateRawSync(content) : content));
    const name = Buffer.from(member.name);
    // From "version needed" to "extra length": the same in both headers.
    const common = Buffer.alloc(26);
    common.writeUInt16LE(20, 0);
    common.writeUInt16LE(flags, 2);
    common.writeUInt16LE(method, 4);
    common.writeUInt16LE((12 << 11) | (30 << 5), 6);
    common.writeUInt16LE(((2025 - 1980) << 9) | (2 << 5) | 3, 8);
    common.writeUInt32LE(member.crc ?? crc32(content), 10);
    common.writeUInt32LE(data.byteLength, 14);
    common.writeUInt32LE(member.size ?? content.byteLength, 18);
    common.writeUInt16LE(name.byteLength, 22);
    const local = Buffer.concat([Buffer.from("PK\x03\x04"), common, name, data]);
    const central = Buffer.alloc(14);
    central.writeUInt32LE((((mode << 16) | attributes) >>> 0) as number, 6);
    central.writeUInt32LE(member.offset === undefined ? offset : 0xffffffff, 10);
    const extra = member.offset === undefined ? Buffer.alloc(0) : zip64Offset(member.offset);
    const told = Buffer.from(common);
    told.writeUInt16LE(extra.byteLength, 24);
    const signature = Buffer.from("PK\x01\x02");
    directory.push(signature, Buffer.from([20, system]), told, central, name, extra);
    parts.push(local);
    offset += local.byteLength;
  }
  const central = Buffer.concat(directory);
  const end = Buffer.alloc(22);
  end.write("PK\x05\x06", "latin1");
  end.writeUInt16LE(zip64 ? 0xffff : count, 8);
  end.writeUInt16LE(zip64 ? 0xffff : count, 10);
  end.writeUInt32LE(zip64 ? 0xffffffff : central.byteLength, 12);
  end.writeUInt32LE(zip64 ? 0xffffffff : offset, 16);
  if (!zip64) return Buffer.concat([...parts, central, end]);
  const record = Buffer.alloc(56);
  record.write("PK\x06\x06", "latin1");
  record.writeBigUInt64LE(44n, 4);
  record.writeBigUInt64LE(BigInt(count), 24);
  record.writeBigUInt64LE(BigInt(count), 32);
  record.writeBigUInt64LE(BigInt(central.byteLength), 40);
  record.writeBigUInt64LE(BigInt(offset), 48);
  const locator = Buffer.alloc(20);
  locator.write("PK\x06\x07", "latin1");
  locator.writeBigUInt64LE(BigInt(offset + central.byteLength), 8);
  locator.writeUInt32LE(1, 16);
  return Buffer.concat([...parts, central, record, locator, end]);
}
