/**
 * libsmbclient, as far as it is needed: one context for the process, and plain calls that block.
 *
 * It is not safe in threads: two at a time crash it. So it has a process of its own, in which nothing else happens.
 */
import { writeSync } from "node:fs";
import type { Connection, Facts, NamedFacts } from "./protocol.ts";

/** What the system has it by. The number is that of its interface, which has not changed since Samba 3. */
const LIBRARY = "libsmbclient.so.0";

/** From libsmbclient.h: SMBC_ENCRYPTLEVEL_DEFAULT, SMBC_ENCRYPTLEVEL_REQUIRE. */
const ENCRYPT_DEFAULT = -1;
const ENCRYPT_REQUIRE = 2;
/** libsmbclient keeps names and passwords in buffers of this size, with a NUL at the end. */
const BUFFER = 256;
/** Bits of struct libsmb_file_info.attrs. */
const DIRECTORY = 0x10;
const S_IFMT = 0o170000;
const S_IFDIR = 0o040000;
/** Milliseconds for one request. Whoever waits for the helper has a better idea of what is too long, and ends it. */
const REQUEST_TIMEOUT_MS = 3_600_000;

/** A call that failed. */
export class CallError extends Error {
  /** As in `Failure.failed`. */
  readonly failed: string;

  constructor(failed: string, detail = failed) {
    super(detail);
    this.failed = failed;
  }
}

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
  const koffi = await loadKoffi();
  const native = openLibrary(koffi);
  const system = koffi.load(null);
  // A helper whose parent is gone has nobody to work for, and may be busy with a server that does not answer.
  const PR_SET_PDEATHSIG = 1;
  const SIGKILL = 9;
  system.func("int prctl(int option, ulong value)")(PR_SET_PDEATHSIG, SIGKILL);

  koffi.opaque("SMBCCTX");
  koffi.proto(
    "void SignIn(SMBCCTX *context, void *server, void *share, void *domain, int domainSize, void *user, int userSize, void *password, int passwordSize)",
  );
  koffi.struct("Timespec", { seconds: "int64", nanoseconds: "int64" });
  koffi.struct("FileInfo", {
    size: "uint64",
    attrs: "uint16",
    uid: "uint32",
    gid: "uint32",
    btime: "Timespec",
    mtime: "Timespec",
    atime: "Timespec",
    ctime: "Timespec",
    name: "const char *",
    shortName: "const char *",
  });
  const call = {
    newContext: native.func("SMBCCTX *smbc_new_context()"),
    initContext: native.func("SMBCCTX *smbc_init_context(SMBCCTX *context)"),
    setContext: native.func("SMBCCTX *smbc_set_context(SMBCCTX *context)"),
    configure: native.func("int smbc_setConfiguration(SMBCCTX *context, const char *file)"),
    setSignIn: native.func(
      "void smbc_setFunctionAuthDataWithContext(SMBCCTX *context, SignIn *function)",
    ),
    setTimeout: native.func("void smbc_setTimeout(SMBCCTX *context, int milliseconds)"),
    setUser: native.func("void smbc_setUser(SMBCCTX *context, const char *user)"),
    setEncryption: native.func(
      "void smbc_setOptionSmbEncryptionLevel(SMBCCTX *context, int level)",
    ),
    setNoAnonymous: native.func(
      "void smbc_setOptionNoAutoAnonymousLogin(SMBCCTX *context, int yes)",
    ),
    setKerberos: native.func("void smbc_setOptionUseKerberos(SMBCCTX *context, int yes)"),
    setFallback: native.func("void smbc_setOptionFallbackAfterKerberos(SMBCCTX *context, int yes)"),
    setCache: native.func("void smbc_setOptionUseCCache(SMBCCTX *context, int yes)"),
    option: native.func("intptr_t smbc_option_get(SMBCCTX *context, const char *name)"),
    stat: native.func("int smbc_stat(const char *url, uint8_t *stat)"),
    opendir: native.func("int smbc_opendir(const char *url)"),
    readdir: native.func("FileInfo *smbc_readdirplus(int handle)"),
    closedir: native.func("int smbc_closedir(int handle)"),
    open: native.func("int smbc_open(const char *url, int flags, int mode)"),
    fstat: native.func("int smbc_fstat(int handle, uint8_t *stat)"),
    lseek: native.func("int64 smbc_lseek(int handle, int64 offset, int whence)"),
    read: native.func("int64 smbc_read(int handle, uint8_t *buffer, size_t length)"),
    close: native.func("int smbc_close(int handle)"),
  };
  const names = new Map(Object.entries(koffi.os.errno).map(([name, value]) => [value, name]));

  /** @throws CallError on what stands for a failure: -1 */
  function checked<Result extends number | bigint>(work: () => Result): Result {
    koffi.errno(0);
    const result = work();
    if (result >= 0) return result;
    throw failure();
  }

  /** The same, for a file that is open. What has no valid signature is told as a denial, which an open file does not meet. */
  function opened<Result extends number | bigint>(work: () => Result): Result {
    try {
      return checked(work);
    } catch (error) {
      throw error instanceof CallError && error.failed === "EACCES"
        ? new CallError("not as it was signed")
        : error;
    }
  }

  function failure(): CallError {
    const number = koffi.errno();
    return new CallError(names.get(number) ?? `errno ${number}`);
  }

  const context = call.newContext();
  if (context === null) throw failure();
  const memfd = system.func("int memfd_create(const char *name, uint flags)");
  checked(() => call.configure(context, settingsFile(connection, memfd)));
  const { user, password, domain, by } = connection;
  const putDomain = domain === undefined ? undefined : putter(domain);
  const putUser = putter(user);
  const putPassword = putter(password);
  const signIn = koffi.register(
    (
      _context: unknown,
      _server: unknown,
      _share: unknown,
      domainAt: unknown,
      domainSize: number,
      userAt: unknown,
      userSize: number,
      passwordAt: unknown,
      passwordSize: number,
    ) => {
      putDomain?.(domainAt, domainSize);
      putUser(userAt, userSize);
      putPassword(passwordAt, passwordSize);
    },
    koffi.pointer("SignIn"),
  );
  call.setSignIn(context, signIn);
  // With a user set, the library asks only when it connects, and takes the password for empty when it finds that connection
  // again by the user's name; servers behind DFS links are then signed in to without one.
  call.setUser(context, "");
  call.setTimeout(context, REQUEST_TIMEOUT_MS);
  call.setNoAnonymous(context, by === "guest" ? 0 : 1);
  call.setKerberos(context, by === "kerberos" ? 1 : 0);
  call.setFallback(context, 0);
  // What winbind keeps of who signed in on this machine is nobody's who gave no password.
  call.setCache(context, 0);
  const mustEncrypt = connection.encrypt === "required";
  call.setEncryption(context, mustEncrypt ? ENCRYPT_REQUIRE : ENCRYPT_DEFAULT);
  if (call.initContext(context) === null) throw failure();
  call.setContext(context);

  /** Made once: it is asked for with each request. */
  function putter(text: string): (at: unknown, size: number) => void {
    const bytes = Buffer.from(`${text}\0`);
    const type = koffi.array("uint8_t", bytes.length);
    return (at, size) => {
      if (bytes.length <= Math.min(size, BUFFER)) koffi.encode(at, type, bytes);
    };
  }

  /**
   * The library connects when it has to, and again when it lost a connection. Some versions (4.17) say that they will not go on
   * without encryption, and then do: so it is asked after each call that may have connected, before content is asked for.
   */
  function checkEncryption(): void {
    if (mustEncrypt && Number(call.option(context, "smb_encrypt_on")) !== 1) {
      throw new CallError("unencrypted");
    }
  }

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

type Koffi = typeof import("koffi").default;

async function loadKoffi(): Promise<Koffi> {
  try {
    return (await import("koffi")).default;
  } catch (error) {
    throw new CallError("koffi", (error as Error).message.split("\n")[0]);
  }
}

function openLibrary(koffi: Koffi) {
  try {
    return koffi.load(LIBRARY);
  } catch (error) {
    throw new CallError("library", (error as Error).message.split("\n")[0]);
  }
}

/**
 * Settings that there are no calls for, as a file that is in memory only. Where nothing is said here, the machine's own
 * `/etc/samba/smb.conf` counts.
 *
 * Names are asked of the system's resolver and no other, and each time; nothing is kept on disk. SMB 1 is never spoken.
 */
function settingsFile(
  { sign, by, encrypt }: Connection,
  memfd: (name: string, flags: number) => number,
): string {
  const signed = sign === "required" || (sign === "auto" && by !== "guest");
  const settings = {
    "client min protocol": "SMB2_02",
    "client max protocol": "SMB3",
    // What servers that DFS links lead to are held to: those are not among what the library tells of encryption.
    ...(encrypt === "required" && { "client smb encrypt": "required" }),
    "client signing": signed ? "required" : "if_required",
    "name resolve order": "host",
    "name cache timeout": "0",
    "disable netbios": "yes",
    "cache directory": "/dev/null/none",
    "lock directory": "/dev/null/none",
    "state directory": "/dev/null/none",
    "private dir": "/dev/null/none",
    "log level": "0",
  };
  const lines = Object.entries(settings).map(([name, value]) => `${name} = ${value}\n`);
  const file = memfd("smb.conf", 0);
  writeSync(file, `[global]\n${lines.join("")}`);
  return `/proc/self/fd/${file}`;
}
