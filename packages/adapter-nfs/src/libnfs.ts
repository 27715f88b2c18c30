/** The functions of libnfs that are made use of, through koffi. Only the helper process loads this. */
import type { KoffiFunc, TypeObject } from "koffi";

/** Memory of libnfs. */
export type Pointer = unknown;

// What koffi makes of a declaration, it types no further.
// oxlint-disable-next-line typescript/no-explicit-any
export type NativeFunction = KoffiFunc<(...args: any[]) => any>;

/** By soname: what comes later has other arguments in places. */
const LIBRARIES = ["libnfs.so.13", "libnfs.so.14"];

/** 64-bit fields of `struct nfs_stat_64`. */
const STAT_FIELDS =
  "dev ino mode nlink uid gid rdev size blksize blocks atime mtime ctime atime_nsec mtime_nsec ctime_nsec used";

export interface Stat {
  readonly mode: number | bigint;
  readonly size: number | bigint;
  readonly mtime: number | bigint;
  readonly mtime_nsec: number | bigint;
}

/** The beginning of `struct nfsdirent`, as far as it is of use. */
export interface DirectoryEntry {
  readonly name: string;
  /** With the bits of the type; 0 where the server told nothing but the name. */
  readonly mode: number;
  readonly size: number | bigint;
  readonly mtime: number | bigint;
  readonly mtime_nsec: number;
}

export type Libnfs = Awaited<ReturnType<typeof loadLibnfs>>;

type Koffi = typeof import("koffi").default;

/** @throws Error where the library is not there */
export async function loadLibnfs(koffi: Koffi) {
  const library = openFirst(LIBRARIES, (name) => koffi.load(name));
  const define = (declaration: string): NativeFunction => library.func(declaration);

  for (const name of ["nfs_context", "nfsfh", "nfsdir", "nfs_url"]) koffi.opaque(name);
  koffi.struct("nfs_stat_64", Object.fromEntries(fields(STAT_FIELDS, "uint64_t")));
  const dirent: TypeObject = koffi.struct("nfsdirent", {
    next: "void *",
    name: "const char *",
    inode: "uint64_t",
    type: "uint32_t",
    mode: "uint32_t",
    size: "uint64_t",
    ...Object.fromEntries(fields("atime atime_usec mtime mtime_usec ctime ctime_usec", "long")),
    ...Object.fromEntries(fields("uid gid nlink", "uint32_t")),
    ...Object.fromEntries(fields("dev rdev blksize blocks used", "uint64_t")),
    ...Object.fromEntries(fields("atime_nsec mtime_nsec ctime_nsec", "uint32_t")),
  });

  const readdir = define("void *nfs_readdir(nfs_context *nfs, nfsdir *dir)");
  const libc = koffi.load(null);
  return {
    init: define("nfs_context *nfs_init_context()"),
    destroy: define("void nfs_destroy_context(nfs_context *nfs)"),
    error: define("const char *nfs_get_error(nfs_context *nfs)"),
    /** Takes settings from the query of a URL: there are no functions for ports. */
    parseUrl: define("nfs_url *nfs_parse_url_incomplete(nfs_context *nfs, const char *url)"),
    destroyUrl: define("void nfs_destroy_url(nfs_url *url)"),
    setUid: define("void nfs_set_uid(nfs_context *nfs, uint32_t uid)"),
    setGid: define("void nfs_set_gid(nfs_context *nfs, uint32_t gid)"),
    setTimeout: define("void nfs_set_timeout(nfs_context *nfs, int milliseconds)"),
    setAutoReconnect: define("void nfs_set_autoreconnect(nfs_context *nfs, int retries)"),
    setDirCache: define("void nfs_set_dircache(nfs_context *nfs, int enabled)"),
    setClientName: define("void nfs4_set_client_name(nfs_context *nfs, const char *id)"),
    getFd: define("int nfs_get_fd(nfs_context *nfs)"),
    mount: define("int nfs_mount(nfs_context *nfs, const char *server, const char *path)"),
    lstat: define("int nfs_lstat64(nfs_context *nfs, const char *path, _Out_ nfs_stat_64 *st)"),
    fstat: define("int nfs_fstat64(nfs_context *nfs, nfsfh *file, _Out_ nfs_stat_64 *st)"),
    open: define("int nfs_open(nfs_context *nfs, const char *path, int flags, _Out_ nfsfh **file)"),
    close: define("int nfs_close(nfs_context *nfs, nfsfh *file)"),
    pread: define(
      "int nfs_pread(nfs_context *nfs, nfsfh *file, uint64_t offset, uint64_t count, void *buf)",
    ),
    readlink: define("int nfs_readlink(nfs_context *nfs, const char *path, void *buf, int size)"),
    opendir: define("int nfs_opendir(nfs_context *nfs, const char *path, _Out_ nfsdir **dir)"),
    closedir: define("void nfs_closedir(nfs_context *nfs, nfsdir *dir)"),
    /** The next name of a directory, of what `opendir` brought. */
    readdir(nfs: Pointer, directory: Pointer): DirectoryEntry | undefined {
      const entry: unknown = readdir(nfs, directory);
      return entry === null ? undefined : (koffi.decode(entry, dirent) as DirectoryEntry);
    },
    shutdown: libc.func("int shutdown(int fd, int how)"),
    closeFd: libc.func("int close(int fd)"),
    getsockopt: libc.func(
      "int getsockopt(int fd, int level, int name, _Out_ uint8_t *value, _Inout_ uint32_t *size)",
    ),
  };
}

function fields(names: string, type: string): [name: string, type: string][] {
  return names.split(" ").map((name) => [name, type]);
}

function openFirst<Library>(names: readonly string[], open: (name: string) => Library): Library {
  const failures: string[] = [];
  for (const name of names) {
    try {
      return open(name);
    } catch (error) {
      failures.push((error as Error).message);
    }
  }
  throw new Error(failures.join("; "));
}
