/** libsmbclient and the C library as JavaScript calls them: types, signatures, and what their failures mean. */

/** What the system has it by. The number is that of its interface, which has not changed since Samba 3. */
const LIBRARY = "libsmbclient.so.0";

/** A call that failed. */
export class CallError extends Error {
  /** As in `Failure.failed`. */
  readonly failed: string;

  constructor(failed: string, detail = failed) {
    super(detail);
    this.failed = failed;
  }
}

type Koffi = typeof import("koffi").default;

export type Native = ReturnType<typeof bind>;

/** @throws CallError `library` where it, or what calls it, is not installed */
export async function loadNative(): Promise<Native> {
  return bind(await loadKoffi());
}

function bind(koffi: Koffi) {
  const library = openLibrary(koffi);
  const system = koffi.load(null);
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
  const names = new Map(Object.entries(koffi.os.errno).map(([name, value]) => [value, name]));

  function failure(): CallError {
    const number = koffi.errno();
    return new CallError(names.get(number) ?? `errno ${number}`);
  }

  /** @throws CallError on what stands for a failure: -1 */
  function checked<Result extends number | bigint>(work: () => Result): Result {
    koffi.errno(0);
    const result = work();
    if (result >= 0) return result;
    throw failure();
  }

  return {
    koffi,
    /** Of the error number that the last call left. */
    failure,
    checked,
    /** The same, for a file that is open. What has no valid signature is told as a denial, which an open file does not meet. */
    opened<Result extends number | bigint>(work: () => Result): Result {
      try {
        return checked(work);
      } catch (error) {
        throw error instanceof CallError && error.failed === "EACCES"
          ? new CallError("not as it was signed")
          : error;
      }
    },
    prctl: system.func("int prctl(int option, ulong value)"),
    memfd: system.func("int memfd_create(const char *name, uint flags)"),
    call: {
      newContext: library.func("SMBCCTX *smbc_new_context()"),
      initContext: library.func("SMBCCTX *smbc_init_context(SMBCCTX *context)"),
      setContext: library.func("SMBCCTX *smbc_set_context(SMBCCTX *context)"),
      configure: library.func("int smbc_setConfiguration(SMBCCTX *context, const char *file)"),
      setSignIn: library.func(
        "void smbc_setFunctionAuthDataWithContext(SMBCCTX *context, SignIn *function)",
      ),
      setTimeout: library.func("void smbc_setTimeout(SMBCCTX *context, int milliseconds)"),
      setUser: library.func("void smbc_setUser(SMBCCTX *context, const char *user)"),
      setEncryption: library.func(
        "void smbc_setOptionSmbEncryptionLevel(SMBCCTX *context, int level)",
      ),
      setNoAnonymous: library.func(
        "void smbc_setOptionNoAutoAnonymousLogin(SMBCCTX *context, int yes)",
      ),
      setKerberos: library.func("void smbc_setOptionUseKerberos(SMBCCTX *context, int yes)"),
      setFallback: library.func(
        "void smbc_setOptionFallbackAfterKerberos(SMBCCTX *context, int yes)",
      ),
      setCache: library.func("void smbc_setOptionUseCCache(SMBCCTX *context, int yes)"),
      option: library.func("intptr_t smbc_option_get(SMBCCTX *context, const char *name)"),
      stat: library.func("int smbc_stat(const char *url, uint8_t *stat)"),
      opendir: library.func("int smbc_opendir(const char *url)"),
      readdir: library.func("FileInfo *smbc_readdirplus(int handle)"),
      closedir: library.func("int smbc_closedir(int handle)"),
      open: library.func("int smbc_open(const char *url, int flags, int mode)"),
      fstat: library.func("int smbc_fstat(int handle, uint8_t *stat)"),
      lseek: library.func("int64 smbc_lseek(int handle, int64 offset, int whence)"),
      read: library.func("int64 smbc_read(int handle, uint8_t *buffer, size_t length)"),
      close: library.func("int smbc_close(int handle)"),
    },
  };
}

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
