/** Reading from a connection in large pieces. */
import type { OnReadOpts, Socket } from "node:net";

/** Bytes read at once, at most. */
const SIZE = 512 * 1024;

/** Every socket reads into it: what came is copied before the next one reads. */
let memory: Uint8Array | undefined;

/**
 * The `onread` of a socket (`net.connect`, `tls.connect`) by which large files come. Left to itself Node reads 64 KiB at a time,
 * each into fresh memory, and of what was encrypted 16 KiB into memory that several pieces share. So it reads all that has come,
 * and each piece has memory of its own, which `releaseAfterUse` can free. To whoever reads the socket,
 * nothing else is different.
 *
 * A file of 512 MiB takes a third less processor time by FTP and by HTTPS, and by HTTPS half of the memory.
 */
export function largeReads(): OnReadOpts {
  memory ??= Buffer.allocUnsafeSlow(SIZE);
  return { buffer: memory, callback: pushCopy };
}

/** Node calls it as a method of the socket, and stops reading where it returns false. */
function pushCopy(this: Socket, count: number, bytes: Uint8Array): boolean {
  const copy = Buffer.allocUnsafeSlow(count);
  copy.set(bytes.subarray(0, count));
  return this.push(copy);
}
