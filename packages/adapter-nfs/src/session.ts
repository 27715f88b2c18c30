/** One connection of libnfs to an export, on a thread of koffi's. In the helper process only. */
import { randomUUID } from "node:crypto";
import { constants } from "node:fs";
import { constants as osConstants } from "node:os";
import { type Calls, createCalls } from "./calls.ts";
import type { Libnfs, Pointer, Stat } from "./libnfs.ts";
import type { Facts, Found, Item, Start } from "./protocol.ts";
import { NfsProblem, failed } from "./problem.ts";
import { kindOf, toFacts } from "./facts.ts";

export interface Session {
  /** Milliseconds on the monotonic clock, when it last had an answer. */
  readonly usedAt: number;
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
const { ENOENT, EINVAL } = osConstants.errno;

export interface SessionInit extends Start {
  /** Whether the exports below the one that is mounted are crossed. libnfs asks version 3 for their list then. */
  readonly crossing: boolean;
}

function openContext(libnfs: Libnfs, start: SessionInit): Pointer {
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
  return nfs;
}

interface Read {
  readonly items: Item[];
  readonly links: Found[];
  /** Those that the server told no more of than their names. */
  readonly unknown: string[];
}

/** What libnfs has read of a directory, in slices: others' answers come in between. */
async function* itemsOf(
  libnfs: Libnfs,
  nfs: Pointer,
  directory: Pointer,
  most: number,
): AsyncGenerator<Read> {
  let count = 0;
  for (let last = false; !last;) {
    const read: Read = { items: [], links: [], unknown: [] };
    while (read.items.length < ITEMS && !last) {
      const entry = libnfs.readdir(nfs, directory);
      last = entry === undefined;
      if (entry === undefined || entry.name === "." || entry.name === "..") continue;
      if (++count > most) throw failed("full", 0);
      const { name, mode, size, mtime, mtime_nsec } = entry;
      const kind = kindOf(mode);
      if (kind === undefined) {
        read.unknown.push(name);
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
      if (item.kind === "symlink") read.links.push(item);
      else read.items.push(item);
    }
    yield read;
    if (!last) await new Promise(setImmediate);
  }
}

/** @param onClose called when it is closed */
export function createSession(libnfs: Libnfs, start: SessionInit, onClose: () => void): Session {
  const nfs = openContext(libnfs, start);
  const calls = createCalls(libnfs, nfs, start.idleTimeout);
  const { call, watch, cut } = calls;

  /** @param size as lstat or a listing said */
  async function readTarget(path: string, size: number): Promise<string> {
    const buffer = Buffer.alloc(65_536);
    for (let known = size; ;) {
      await call("call", libnfs.readlink, path, buffer, buffer.length);
      const hasEnd = start.version === 3 || known === 0 || known >= buffer.length;
      if (hasEnd) return buffer.toString("utf8", 0, buffer.indexOf(0));
      // Of version 4, what libnfs gives has no end of its own, and may be of another link than the one whose size is known.
      const { size: now } = await session.lstat(path);
      if (now === known) return buffer.toString("utf8", 0, known);
      known = now;
    }
  }

  async function list(path: string, most: number, onItems: (items: Item[]) => void): Promise<void> {
    const opened: Pointer[] = [null];
    await call("call", libnfs.opendir, path || "/", opened);
    const [directory] = opened;
    const links: Found[] = [];
    const unknown: string[] = [];
    try {
      for await (const { items, ...rest } of itemsOf(libnfs, nfs, directory, most)) {
        links.push(...rest.links);
        unknown.push(...rest.unknown);
        onItems(items);
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
  }

  const session: Session = {
    get usedAt() {
      return calls.usedAt;
    },
    get usable() {
      return calls.usable;
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

    list,

    read: (path, offset, length) => readFile(libnfs, calls, path, offset, length),
    watch,
    cut,

    close() {
      onClose();
      if (calls.usable) {
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

async function readFile(
  libnfs: Libnfs,
  calls: Calls,
  path: string,
  offset: number,
  length: number,
): ReturnType<Session["read"]> {
  const { call } = calls;
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
    if (calls.usable) await call("call", libnfs.close, file);
  }
}

/** Gone since its name was read. */
function whereGone(error: unknown): undefined {
  if (error instanceof NfsProblem && error.problem.errno === ENOENT) return;
  // No symlink any more.
  if (error instanceof NfsProblem && error.problem.errno === EINVAL) throw failed("replaced", 0);
  throw error;
}
