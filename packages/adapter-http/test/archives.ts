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
  readonly name: string;
  readonly content?: string | Uint8Array;
  /** Unix mode with type bits. */
  readonly mode?: number;
  readonly flags?: number;
  readonly method?: number;
  /** Replaces the true one. */
  readonly crc?: number;
  /** Replaces the true uncompressed size. */
  readonly size?: number;
}

/** A zip archive (APPNOTE.TXT 4.3). */
export function makeZip(members: readonly ZipMember[]): Buffer {
  const parts: Buffer[] = [];
  const directory: Buffer[] = [];
  let offset = 0;
  for (const member of members) {
    const content = Buffer.from(member.content ?? "");
    const { method = 8, flags = 0x800, mode = 0o100644 } = member;
    const data = method === 8 ? deflateRawSync(content) : content;
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
    central.writeUInt32LE(((mode << 16) >>> 0) as number, 6);
    central.writeUInt32LE(offset, 10);
    directory.push(Buffer.from("PK\x01\x02"), Buffer.from([20, 3]), common, central, name);
    parts.push(local);
    offset += local.byteLength;
  }
  const central = Buffer.concat(directory);
  const end = Buffer.alloc(22);
  end.write("PK\x05\x06", "latin1");
  end.writeUInt16LE(members.length, 8);
  end.writeUInt16LE(members.length, 10);
  end.writeUInt32LE(central.byteLength, 12);
  end.writeUInt32LE(offset, 16);
  return Buffer.concat([...parts, central, end]);
}
