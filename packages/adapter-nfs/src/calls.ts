/** Calls to libnfs on one connection, one at a time, each watched: a server may be silent, or tell a byte now and then. */
import { constants } from "node:os";
import type { Libnfs, NativeFunction, Pointer } from "./libnfs.ts";
import { failed } from "./problem.ts";
import type { Problem } from "./protocol.ts";

const { ENOENT, ENOTDIR, EISDIR, EACCES, EPERM, ELOOP, EINVAL, ENAMETOOLONG } = constants.errno;
/** Answers about a path, after which a connection is as good as before. */
const ORDINARY = new Set([ENOENT, ENOTDIR, EISDIR, EACCES, EPERM, ELOOP, EINVAL, ENAMETOOLONG]);

/** Milliseconds that a call may go on after its connection was ended, before the process is given up. */
const STUCK_AFTER_MS = 1000;

/** Bytes a second of one call, at least, once it took so many times the idle timeout. */
const LEAST_BYTES_A_SECOND = 64;

const SLOW_AFTER_TIMEOUTS = 2;

const IPPROTO_TCP = 6;

const TCP_INFO = 11;

/** Of `tcpi_bytes_received` in `struct tcp_info`. */
const BYTES_RECEIVED = 128;

/** What a byte counts in one number with the connection's descriptor. */
const UNIT = 4096;

export interface Calls {
  /** Milliseconds on the monotonic clock, when it last had an answer. */
  usedAt: number;
  /** False after anything but an ordinary answer about a path: the connection must not be used again. */
  readonly usable: boolean;
  /** @throws NfsProblem */
  call(step: Problem["step"], native: NativeFunction, ...args: unknown[]): Promise<number>;
  /** Looks whether anything came since it was last looked; ends a call to a server that was silent for too long. */
  watch(now: number): void;
  /** Ends the call that is under way by ending the connection. */
  cut(): void;
}

export function createCalls(libnfs: Libnfs, nfs: Pointer, idleTimeout: number): Calls {
  let usable = true;
  let calling = false;
  let silent = false;
  /** Of the call that is under way. */
  let began = 0;
  let first = -1;
  let received = -1;
  let lastSign = 0;

  async function call(step: Problem["step"], native: NativeFunction, ...args: unknown[]) {
    if (!usable) throw failed("connection", 0);
    calling = true;
    began = lastSign = performance.now();
    first = bytesReceived();
    received = -1;
    const result = await new Promise<number>((resolve, reject) => {
      native.async(nfs, ...args, (error: Error | null, value: number) => {
        if (error === null) resolve(value);
        else reject(error);
      });
    }).finally(() => (calling = false));
    calls.usedAt = performance.now();
    if (result >= 0) return result;
    const text = String(libnfs.error(nfs));
    // What was not even asked is −1, which is EPERM's number as well.
    const ordinary = ORDINARY.has(-result) && !text.includes("_async failed");
    if (!ordinary) usable = false;
    if (silent) throw failed("silent", 0, text);
    const answered = ordinary || /NFS[34]ERR|MNT3ERR/.test(text);
    throw failed(answered ? step : "connection", -result, text);
  }

  /** Bytes that came on the connection so far; another number for another connection. */
  function bytesReceived(): number {
    const fd = libnfs.getFd(nfs) as number;
    if (fd < 0) return -1;
    const info = new Uint8Array(BYTES_RECEIVED + 8);
    const size = [info.length];
    if (libnfs.getsockopt(fd, IPPROTO_TCP, TCP_INFO, info, size) !== 0) return -1;
    return fd + Number(new DataView(info.buffer).getBigUint64(BYTES_RECEIVED, true)) * UNIT;
  }

  /** A byte now and then is a sign of life, but leads nowhere. */
  function tooSlow(waited: number): boolean {
    // On another connection it starts over.
    if (first === -1 || received < first) first = received;
    const bytes = (received - first) / UNIT;
    return (
      waited > SLOW_AFTER_TIMEOUTS * idleTimeout && bytes < (LEAST_BYTES_A_SECOND * waited) / 1000
    );
  }

  const calls: Calls = {
    usedAt: performance.now(),
    get usable() {
      return usable;
    },
    call,

    watch(now) {
      if (!calling || silent) return;
      const before = received;
      received = bytesReceived();
      if (received !== before) lastSign = now;
      if (now - lastSign < idleTimeout && !tooSlow(now - began)) return;
      silent = true;
      calls.cut();
    },

    cut() {
      usable = false;
      if (!calling) return;
      const fd = libnfs.getFd(nfs) as number;
      if (fd >= 0) libnfs.shutdown(fd, 2);
      setTimeout(() => {
        // Nothing else ends a thread.
        if (calling) process.kill(process.pid, "SIGKILL");
      }, STUCK_AFTER_MS);
    },
  };
  return calls;
}
