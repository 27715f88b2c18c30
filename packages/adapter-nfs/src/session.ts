/** One connection of libnfs to an export: one call at a time, on a thread of koffi's. In the helper process only. */
import { randomUUID } from "node:crypto";
import { constants, readFileSync } from "node:fs";
import { constants as osConstants } from "node:os";
import type { Libnfs, NativeFunction, Pointer, Stat } from "./libnfs.ts";
import type { Facts, Found, Item, Kind, Problem, Start } from "./protocol.ts";

/** A failure with the words for the other process. */
export class NfsProblem extends Error {
  readonly problem: Problem;

  constructor(problem: Problem) {
    super(problem.text);
    this.problem = problem;
  }
}

export interface Session {
  /** Milliseconds on the monotonic clock, when it last had an answer. */
  usedAt: number;
  /** False after anything but an ordinary answer about a path: it must not be used again. */
  readonly usable: boolean;
  mount(path: string): Promise<void>;
  lstat(path: string): Promise<Facts>;
  readlink(path: string, size: number): Promise<string>;
  list(path: string, most: number, onItems: (items: Item[]) => void): Promise<void>;
  read(
    path: string,
    offset: number,
    length: number,
  ): Promise<{ readonly facts: Facts; readonly bytes: Uint8Array }>;
  /** Looks whether anything came since it was last looked; ends a call to a server that was silent for too long. */
  watch(now: number): void;
  /** Ends the call that is under way by ending the connection. */
  cut(): void;
  close(): void;
}

/** The most that servers give at once; some give less. */
const READ_SIZE = 1024 * 1024;
const ITEMS = 1000;
const { O_RDONLY, O_NOFOLLOW } = constants;

const { ENOENT, ENOTDIR, EISDIR, EACCES, EPERM, ELOOP, EINVAL, ENAMETOOLONG } = osConstants.errno;
/** Answers about a path, after which a connection is as good as before. */
const ORDINARY = new Set([ENOENT, ENOTDIR, EISDIR, EACCES, EPERM, ELOOP, EINVAL, ENAMETOOLONG]);

/** Milliseconds that a call may go on after its connection was ended, before the process is given up. */
const STUCK = 1000;

/** Bytes a second of one call, at least, once it took so many times the idle timeout. */
const LEAST = 64;
const SLOW = 2;

const IPPROTO_TCP = 6;
const TCP_INFO = 11;
/** Of `tcpi_bytes_received` in `struct tcp_info`. */
const BYTES_RECEIVED = 128;
/** What a byte counts in one number with the connection's descriptor. */
const UNIT = 4096;

export interface SessionInit extends Start {
  /** Whether the exports below the one that is mounted are crossed. libnfs asks version 3 for their list then. */
  readonly crossing: boolean;
}

/** @param onClose called when it is closed */
export function createSession(libnfs: Libnfs, start: SessionInit, onClose: () => void): Session {
  const nfs: Pointer = libnfs.init();
  const port = start.port ?? (start.version === 4 ? 2049 : undefined);
  const settings = [`version=${start.version}`];
  if (port !== undefined) settings.push(`nfsport=${port}`);
  if (start.mountPort !== undefined) settings.push(`mountport=${start.mountPort}`);
  if (!start.crossing) settings.push("auto-traverse-mounts=0");
  const url: Pointer = libnfs.parseUrl(nfs, `nfs://server/?${settings.join("&")}`);
  if (url !== null) libnfs.destroyUrl(url);
  if (start.uid !== undefined) libnfs.setUid(nfs, start.uid);
  if (start.gid !== undefined) libnfs.setGid(nfs, start.gid);
  // Servers tell clients of version 4 apart by it.
  libnfs.setClientName(nfs, `pannier-${randomUUID()}`);
  // What is lost is asked for again from outside, and what is slow is watched by the bytes that come.
  libnfs.setAutoReconnect(nfs, 0);
  libnfs.setTimeout(nfs, -1);
  // What it once read of a directory it would tell again.
  libnfs.setDirCache(nfs, 0);

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
    session.usedAt = performance.now();
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
    // On another connection it begins anew.
    if (first === -1 || received < first) first = received;
    const bytes = (received - first) / UNIT;
    return waited > SLOW * start.idleTimeout && bytes < (LEAST * waited) / 1000;
  }

  /** @param size as it was told before */
  async function readTarget(path: string, size: number): Promise<string> {
    const buffer = Buffer.alloc(65_536);
    for (let told = size; ;) {
      await call("call", libnfs.readlink, path, buffer, buffer.length);
      const hasEnd = start.version === 3 || told === 0 || told >= buffer.length;
      if (hasEnd) return buffer.toString("utf8", 0, buffer.indexOf(0));
      // Of version 4, what libnfs gives has no end of its own, and may be of another link than the one whose size is known.
      const { size: now } = await session.lstat(path);
      if (now === told) return buffer.toString("utf8", 0, told);
      told = now;
    }
  }

  const session: Session = {
    usedAt: performance.now(),
    get usable() {
      return usable;
    },

    async mount(path) {
      await call("mount", libnfs.mount, start.server, path);
    },

    async lstat(path) {
      const found = {};
      await call("call", libnfs.lstat, path, found);
      return toFacts(found as Stat);
    },

    readlink: readTarget,

    async list(path, most, onItems) {
      const opened: Pointer[] = [null];
      await call("call", libnfs.opendir, path || "/", opened);
      const [directory] = opened;
      const links: Found[] = [];
      /** Those that the server told no more of than their names. */
      const unknown: string[] = [];
      let count = 0;
      try {
        for (let last = false; !last;) {
          const items: Item[] = [];
          while (items.length < ITEMS && !last) {
            const entry = libnfs.readdir(nfs, directory);
            last = entry === undefined;
            if (entry === undefined || entry.name === "." || entry.name === "..") continue;
            if (++count > most) throw failed("full", 0);
            const { name, mode, size, mtime, mtime_nsec } = entry;
            const kind = kindOf(mode);
            if (kind === undefined) {
              unknown.push(name);
              continue;
            }
            const item: Found = {
              name,
              kind,
              mode: mode & 0o7777,
              size: Number(size),
              seconds: Number(mtime),
              nanoseconds: mtime_nsec,
            };
            if (item.kind === "symlink") links.push(item);
            else items.push(item);
          }
          onItems(items);
          // For the others' answers.
          if (!last) await new Promise(setImmediate);
        }
      } finally {
        libnfs.closedir(nfs, directory);
      }
      for (const name of unknown) {
        const facts = await session.lstat(`${path}/${name}`).catch(whereGone);
        if (facts?.kind === "symlink") links.push({ name, ...facts });
        else onItems([facts === undefined ? { name, kind: "gone" } : { name, ...facts }]);
      }
      for (const link of links) {
        const at = `${path}/${link.name}`;
        const target = await readTarget(at, link.size).catch(whereGone);
        onItems([target === undefined ? { name: link.name, kind: "gone" } : { ...link, target }]);
      }
    },

    async read(path, offset, length) {
      const opened: Pointer[] = [null];
      await call("call", libnfs.open, path, O_RDONLY | O_NOFOLLOW, opened);
      const [file] = opened;
      try {
        const bytes = Buffer.allocUnsafe(length);
        let got = 0;
        while (got < length) {
          const part = bytes.subarray(got, Math.min(got + READ_SIZE, length));
          const count = await call("call", libnfs.pread, file, offset + got, part.length, part);
          if (count === 0) break;
          got += count;
        }
        const found = {};
        await call("call", libnfs.fstat, file, found);
        return { facts: toFacts(found as Stat), bytes: bytes.subarray(0, got) };
      } finally {
        if (usable) await call("call", libnfs.close, file);
      }
    },

    watch(now) {
      if (!calling || silent) return;
      const before = received;
      received = bytesReceived();
      if (received !== before) lastSign = now;
      if (now - lastSign < start.idleTimeout && !tooSlow(now - began)) return;
      silent = true;
      session.cut();
    },

    cut() {
      usable = false;
      if (!calling) return;
      const fd = libnfs.getFd(nfs) as number;
      if (fd >= 0) libnfs.shutdown(fd, 2);
      setTimeout(() => {
        // Nothing else ends a thread.
        if (calling) process.kill(process.pid, "SIGKILL");
      }, STUCK);
    },

    close() {
      onClose();
      if (usable) {
        libnfs.destroy(nfs);
        return;
      }
      // A call that failed leaves pointers to its own stack behind, which destroying would write to. It stays as it is.
      const fd = libnfs.getFd(nfs) as number;
      if (fd >= 0) libnfs.closeFd(fd);
    },
  };
  return session;
}

function failed(step: Problem["step"], errno: number, text = ""): NfsProblem {
  return new NfsProblem({ step, errno, text, privileged: mayUseLowPorts() });
}

/** Whether this process may use ports below 1024, which libnfs then does. */
function mayUseLowPorts(): boolean {
  const CAP_NET_BIND_SERVICE = 10n;
  const capabilities = /^CapEff:\s*([0-9a-f]+)$/m.exec(readFileSync("/proc/self/status", "utf8"));
  return ((BigInt(`0x${capabilities?.[1] ?? "0"}`) >> CAP_NET_BIND_SERVICE) & 1n) === 1n;
}

/** `undefined` for what is not told, or not known. */
function kindOf(mode: number): Kind | undefined {
  switch (mode & constants.S_IFMT) {
    case constants.S_IFREG:
      return "file";
    case constants.S_IFDIR:
      return "directory";
    case constants.S_IFLNK:
      return "symlink";
    case constants.S_IFIFO:
    case constants.S_IFSOCK:
    case constants.S_IFCHR:
    case constants.S_IFBLK:
      return "special";
    default:
      return undefined;
  }
}

function toFacts({ mode, size, mtime, mtime_nsec }: Stat): Facts {
  const bits = Number(mode);
  const kind = kindOf(bits);
  if (kind === undefined) throw failed("untold", 0);
  return {
    kind,
    mode: bits & 0o7777,
    size: Number(size),
    seconds: Number(BigInt.asIntN(64, BigInt(mtime))),
    nanoseconds: Number(mtime_nsec),
  };
}

/** Gone since its name was read. */
function whereGone(error: unknown): undefined {
  if (error instanceof NfsProblem && error.problem.errno === ENOENT) return;
  // No symlink any more.
  if (error instanceof NfsProblem && error.problem.errno === EINVAL) throw failed("replaced", 0);
  throw error;
}
