/**
 * libsmbclient, as far as it is needed: one context for the process, and plain calls that block.
 *
 * It is not safe in threads: two at a time crash it. So it has a process of its own, in which nothing else happens.
 */
import { openContext } from "./context.ts";
import { CallError, loadNative } from "./native.ts";
import type { Connection, Facts, NamedFacts } from "./protocol.ts";

/** Bits of struct libsmb_file_info.attrs. */
const DIRECTORY = 0x10;
const S_IFMT = 0o170000;
const S_IFDIR = 0o040000;

export interface Library {
  /** All paths are those of requests. @throws CallError */
  stat(path: string): Facts;
  list(path: string, most: number): NamedFacts[];
  /**
   * As long as a file is open, by whomever, Samba tells the modification time that it had when it was opened first, whatever
   * other programs do to it on the server's machine. So it says little to look at a file that is open after it was read.
   */
  open(path: string): number;
  facts(handle: number): Facts;
  /** @returns the number of bytes read: fewer than asked for only at the end of the file */
  read(handle: number, offset: number, buffer: Buffer): number;
  close(handle: number): void;
}

/** @throws CallError `library` where it, or what calls it, is not installed, `machine` on a machine of another kind */
export async function loadLibrary(connection: Connection): Promise<Library> {
  const modeAt = { x64: 24, arm64: 16, riscv64: 16, loong64: 16 }[process.arch as string];
  if (process.platform !== "linux" || modeAt === undefined) {
    throw new CallError("machine", `${process.platform} on ${process.arch}`);
  }
  const native = await loadNative();
  // A helper whose parent is gone has nobody to work for, and may be busy with a server that does not answer.
  const PR_SET_PDEATHSIG = 1;
  const SIGKILL = 9;
  native.prctl(PR_SET_PDEATHSIG, SIGKILL);
  const checkEncryption = openContext(native, connection);
  const { koffi, call, checked, opened } = native;
  const url = (path: string) => `${connection.share}${path}`;
  // struct stat. Beside the place of the mode it is the same on all machines of 64 bits that we know.
  const buffer = Buffer.alloc(256);
  const SIZE_AT = 48;
  const MTIME_AT = 88;
  const fromStat = (): Facts => ({
    kind: (buffer.readUInt32LE(modeAt) & S_IFMT) === S_IFDIR ? "directory" : "file",
    size: Number(buffer.readBigInt64LE(SIZE_AT)),
    seconds: Number(buffer.readBigInt64LE(MTIME_AT)),
    nanoseconds: Number(buffer.readBigInt64LE(MTIME_AT + 8)),
  });

  return {
    stat(path) {
      checked(() => call.stat(url(path), buffer));
      checkEncryption();
      return fromStat();
    },
    list(path, most) {
      const handle = checked(() => call.opendir(url(path)));
      try {
        checkEncryption();
        const items: NamedFacts[] = [];
        for (;;) {
          const found = call.readdir(handle);
          if (found === null) return items;
          const { name, attrs, size, mtime } = koffi.decode(found, "FileInfo");
          if (name === "." || name === "..") continue;
          const kind = (attrs & DIRECTORY) === 0 ? "file" : "directory";
          const seconds = Number(mtime.seconds);
          const nanoseconds = Number(mtime.nanoseconds);
          if (items.length === most) throw new CallError("full");
          items.push({ name, kind, size: Number(size), seconds, nanoseconds });
        }
      } finally {
        call.closedir(handle);
      }
    },
    open(path) {
      const handle = checked(() => call.open(url(path), 0, 0));
      try {
        checkEncryption();
      } catch (error) {
        call.close(handle);
        throw error;
      }
      return handle;
    },
    facts(handle) {
      opened(() => call.fstat(handle, buffer));
      return fromStat();
    },
    read(handle, offset, into) {
      opened(() => call.lseek(handle, offset, 0));
      for (let got = 0; ;) {
        const rest = got === 0 ? into : into.subarray(got);
        const count = Number(opened(() => call.read(handle, rest, rest.length)));
        got += count;
        if (count === 0 || got === into.length) return got;
      }
    },
    close(handle) {
      call.close(handle);
    },
  };
}
