/** Reads zip archives. Their directory comes last, so the whole file has to be there. */
import { isUtf8 } from "node:buffer";
import { buffer } from "node:stream/consumers";
import { crc32 } from "node:zlib";
import { SourceError } from "@pannier/core";
import type { Entry, ZipFile } from "yauzl";
import { guarded } from "../errors.ts";
import { type Member, refuseKind } from "./member.ts";

/** A symlink's text is its content; Linux takes no longer one. */
const MAX_TARGET = 4096;
/** `versionMadeBy` of systems that store Unix modes (APPNOTE.TXT, 4.4.2): Unix and macOS. */
const UNIX = new Set([3, 19]);
const FILE_TYPE = 0o170000;

/** The members in the order of the archive's directory. */
export async function* readZip(path: string, signal: AbortSignal): AsyncGenerator<Member> {
  const { getFileNameLowLevel, openPromise } = await import("yauzl");
  // Names are decoded here, and checked as those of every other archive.
  const zip = await openPromise(path, { autoClose: false, decodeStrings: false });
  try {
    for await (const entry of zip.eachEntry()) {
      const { generalPurposeBitFlag: flags, fileNameRaw: raw, extraFields } = entry;
      const name =
        isUnix(entry) && isUtf8(raw)
          ? raw.toString("utf8")
          : getFileNameLowLevel(flags, raw, extraFields, false);
      yield await memberOf(zip, entry, name, signal);
    }
  } finally {
    zip.close();
  }
}

async function memberOf(
  zip: ZipFile,
  entry: Entry,
  name: string,
  signal: AbortSignal,
): Promise<Member> {
  const { uncompressedSize: size } = entry;
  const unix = isUnix(entry) ? entry.externalFileAttributes >>> 16 : 0;
  const mtime = entry.getLastModDate({ timezone: "UTC" }).getTime();
  if ((entry.generalPurposeBitFlag & 1) !== 0) {
    throw new SourceError("unsupported", `the archive's ${JSON.stringify(name)} is encrypted`);
  }
  if (name.endsWith("/")) return { kind: "directory", name, mtime };
  switch (unix & FILE_TYPE) {
    case 0:
    case 0o100000: {
      const mode = unix === 0 ? undefined : unix & 0o7777;
      const content = guarded(contentOf(zip, entry), signal);
      return { kind: "file", name, mtime, mode, size, content };
    }
    case 0o120000: {
      if (size > MAX_TARGET) throw refuseKind(name, "symlink with an endless target");
      const target = await buffer(contentOf(zip, entry));
      return { kind: "symlink", name, mtime, target: target.toString("utf8") };
    }
    case 0o040000:
      return { kind: "directory", name, mtime };
    default:
      throw refuseKind(name, "device, FIFO or socket");
  }
}

/**
 * Archives of Unix often have UTF-8 names without the flag that says so. Elsewhere a name without it is in code page 437,
 * and a backslash in it stands for a slash.
 */
function isUnix(entry: Entry): boolean {
  return UNIX.has(entry.versionMadeBy >>> 8);
}

async function* contentOf(zip: ZipFile, entry: Entry): AsyncGenerator<Uint8Array> {
  const stream = await zip.openReadStreamPromise(entry, {});
  let sum = 0;
  for await (const chunk of stream as AsyncIterable<Buffer>) {
    sum = crc32(chunk, sum);
    yield chunk;
  }
  // The library checks sizes only.
  if (sum !== entry.crc32) {
    throw new SourceError(
      "invalid",
      `the archive's ${JSON.stringify(entry.fileNameRaw.toString())} is damaged`,
    );
  }
}
