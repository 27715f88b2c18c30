/**
 * The contract between the engine and a source adapter.
 *
 * An adapter package exports one {@link Adapter}. The engine asks it to {@link Adapter.open} a source, and from then
 * on talks to the {@link Source}: four required methods, the rest optional capabilities that the engine looks for.
 *
 * What an adapter never does: retry, sleep, back off, read patterns, write below the target, read a secret from anywhere but
 * its {@link SourceContext} or its ecosystem's own chain. The engine does all of that once, for every adapter.
 */
import type { Location } from "./location.ts";
import type { SourceError } from "./errors.ts";
import type { OptionSpecs, OptionValues } from "./options.ts";
import type { CheckedSignature, SignatureKind, Signer } from "./signers.ts";

/** A regular file of a source. */
export interface FileEntry {
  readonly kind: "file";
  /** Relative to the source's root, `/` between segments, no leading or trailing `/`. Hostile names are passed on as they are: the engine judges them. */
  readonly path: string;
  /** Size in bytes; `undefined` where the source does not tell (an HTML index page). */
  readonly size?: number | undefined;
  /** Permission bits, of which the engine keeps `0o777`; `undefined` where the source has none. */
  readonly mode?: number | undefined;
  /** Modification time in milliseconds since the epoch, with as much fraction as the source has. */
  readonly mtime?: number | undefined;
  /** What tells two contents at this path apart: a blob id, an ETag, a digest, or size and mtime. Never empty. */
  readonly fingerprint: string;
  /** What the content hashes to, where the listing vouches for it: the engine checks what it read against it. SHA-256 costs nothing, since the engine takes it anyway. */
  readonly digest?: Digest | undefined;
  /** Whatever the adapter needs to read exactly this version again (a version id, a scratch file's name). Kept with the entry, so keep it short; no secrets. */
  readonly ref?: string | undefined;
}

export type DigestAlgorithm = "sha256" | "sha1" | "md5" | "crc32" | "crc32c" | "crc64nvme";

/** A digest of a whole file. */
export interface Digest {
  readonly algorithm: DigestAlgorithm;
  /** In hex. */
  readonly value: string;
  /** Present where `value` is the digest of the (binary) digests of parts of this many bytes, of which the last may be shorter: a multipart upload to S3. */
  readonly partSize?: number | undefined;
}

/** A symbolic link of a source. */
export interface SymlinkEntry {
  readonly kind: "symlink";
  /** As in {@link FileEntry.path}. */
  readonly path: string;
  /** The link's text, exactly as the source has it. */
  readonly target: string;
  /** As in {@link FileEntry.mtime}. */
  readonly mtime?: number | undefined;
}

/** One file or symlink of a source. Directories are implied by paths; an empty directory is not content. */
export type Entry = FileEntry | SymlinkEntry;

/** A part of a file: `offset` bytes are skipped, then at most `length` bytes delivered (to the end when absent). */
export interface ByteRange {
  readonly offset: number;
  readonly length?: number | undefined;
}

/**
 * The bytes of a file: all at once where the adapter has them in memory anyway (cheaper for small files), or a stream.
 * The memory of a stream's chunk may be used again, or be gone, once the next chunk is asked for (`passing`).
 * A stream must fail, not end, when the connection is cut short. The engine may stop reading a stream early; the
 * adapter then frees what the stream holds (`return()` of the iterator).
 *
 * `digest` is for what only the answer tells, not the listing: of the whole file, also in the answer to a range. It is
 * checked as {@link FileEntry.digest} is.
 */
export type Body = (Uint8Array | AsyncIterable<Uint8Array>) & {
  readonly digest?: Digest | undefined;
};

/** One difference between two revisions, as {@link Source.changes} tells it. */
export type Change =
  | { readonly kind: "put"; readonly entry: Entry }
  /** The path is gone. */
  | { readonly kind: "delete"; readonly path: string };

/** The differences between two revisions. */
export interface Delta {
  /** In batches of any size and any order, each path at most once. */
  readonly changes: AsyncIterable<readonly Change[]> | Iterable<readonly Change[]>;
  /** As {@link Listing.token}, for what is published and these changes; asked after the last of them. Without it, that of the probe counts. */
  readonly token?: (() => string) | undefined;
  /** As {@link Listing.signature}, of the later revision. */
  readonly signature?: CheckedSignature | undefined;
}

/** The entries that a source's delta starts from, as they were listed. What is not wanted is not among them, and neither is {@link IGNORE_FILE}. */
export interface Published {
  /** The `ref` of the entry at a path; `undefined` where there is none. */
  ref(path: string): string | undefined;
  /** The paths of all entries that have one of these `ref`s. Looks at each entry: a millisecond for a few thousand. */
  pathsOf(refs: ReadonlySet<string>): Promise<readonly string[]>;
}

/** What a probe found. */
export interface ProbeResult {
  /** Equal tokens mean: nothing changed since. Opaque; kept in the volume's state, so no secrets. */
  readonly token: string;
  /** The name of the source's present revision where the source has names for them (a commit). */
  readonly revision?: string | undefined;
  /** True where this source can never change (a full commit SHA): `follow` then stops asking. */
  readonly immutable?: boolean | undefined;
}

/** One listing of a source. */
export interface Listing {
  /**
   * The entries, in batches of any size; streamed, never the whole listing in memory. A listing that could not be
   * completed must throw: an iterator that ends is taken for the whole truth, and what it lacks is deleted.
   */
  readonly entries: AsyncIterable<readonly Entry[]> | Iterable<readonly Entry[]>;
  /**
   * True where paths come in ascending order of their UTF-8 bytes, without duplicates (object stores, git, a sorted
   * walk). Otherwise the engine sorts through a file on the volume; a later duplicate then replaces an earlier one.
   */
  readonly ordered: boolean;
  /** The name of the revision listed. Without it the engine names the revision by a digest of the entries. May be a function: asked after the last entry. */
  readonly revision?: string | (() => string) | undefined;
  /** The token a {@link Source.probe} would have given for exactly this listing; asked after the last entry. Without it, a probe made before the listing counts. */
  readonly token?: (() => string | undefined) | undefined;
  /**
   * Where one path in two entries is a fault of the source's content rather than its order: what to throw. Without it, a
   * later entry replaces an earlier one. Only for a listing that is not {@link Listing.ordered}; asked of what is wanted only.
   */
  readonly clash?: ((first: Entry, second: Entry) => SourceError) | undefined;
  /** The signature that covers all that is listed, checked before any of it is: there has to be one where {@link SourceContext.signers} are given. */
  readonly signature?: CheckedSignature | undefined;
}

/**
 * What of a source is wanted, as the user's filters and the source's own `.pannierignore` say. Paths are relative to the source.
 *
 * The engine filters all that is listed in any case. This is for what should not even be looked at: a directory that may not
 * be read, a name that is not text, a submodule that is private.
 */
export interface Scope {
  /** False where everything is wanted, as far as is known: then nothing need be asked. */
  readonly filters: boolean;
  /** Whether a file or symlink is wanted. True also of a path that would lead out of the target: the engine has to see and refuse it. */
  wants(path: string): boolean;
  /** Whether anything below a directory may be wanted. Where not, it is neither read nor judged. */
  enters(directory: string): boolean;
  /**
   * To be called by a source that reads directory by directory, as soon as it has read the root and before it judges or enters
   * anything there: with the entry of the file {@link IGNORE_FILE}, or `undefined` where the root has none. Other answers count from then on.
   * May read the file. Throws `changed` where answers were given already that this file might change: the engine lists again.
   */
  ignoreFile(entry: Entry | undefined): Promise<void>;
}

/** Name of the file in a source's root that says what of it is not wanted. It is an instruction, not content: never published. */
export const IGNORE_FILE = ".pannierignore";

/** A file on this machine that holds the content of an entry. */
export interface LocalFile {
  readonly path: string;
  /** True where the file was made for the engine (an unpacked archive): it is moved instead of copied. */
  readonly disposable: boolean;
  /** Called after a copy was made: throws `changed` if the file is no longer the version listed. */
  check(): Promise<void>;
}

/** How threads of the engine get a source's files: see `OpenLane`. */
export interface LaneSpec {
  /** A module that exports an `OpenLane` under the name `openLane`. Always the same one of a source. */
  readonly module: URL;
  /** What it has to know; cloned for each batch. May hold secrets: it never leaves the process. */
  readonly data: unknown;
  /** True where its lanes read parts of large files as well (`Lane.readPart`). */
  readonly parts?: boolean | undefined;
}

/** An opened source. Methods may be called concurrently, `read` many times at once. Errors thrown are {@link SourceError}s; a NoRoomError where content exceeds {@link Limits.maxBytes}. */
export interface Source {
  /**
   * The cheapest question that tells whether anything changed (an ls-remote, a HEAD, a conditional GET). `undefined`
   * where there is none: the engine lists instead. At most one request.
   *
   * @param known the token of the published revision, if there is one, for sources that ask "changed since?" (ETag).
   */
  probe(signal: AbortSignal, known?: string): Promise<ProbeResult | undefined>;
  /**
   * Lists the source as it is now. May do its real work before the promise resolves or while the entries are consumed.
   *
   * @param scope what may be passed over; without it, everything is listed. May be ignored: more than is wanted does no harm.
   */
  list(signal: AbortSignal, scope?: Scope): Promise<Listing>;
  /**
   * Reads exactly the version of the file that `entry` names, never a later one: throws `changed` if it is not there
   * any more. May be called for an entry kept from an earlier listing (by an earlier process): `not-found` or
   * `changed` if that version is out of reach.
   */
  read(entry: FileEntry, range: ByteRange | undefined, signal: AbortSignal): Promise<Body>;
  /**
   * The differences between two of this source's revisions without listing everything; `undefined` where that is
   * not possible for these two: the engine lists instead. Asked only for a `to` that {@link Source.probe} just told.
   *
   * @param from the name of the published revision; its token where the source has no names for them
   * @param to the same of the revision to come
   * @param scope as for {@link Source.list}; it knows the ignore file already, and a change of that file has to be told
   * @param published what is published of the source, for one that is told what changed but not what was there before
   */
  changes?(
    from: string,
    to: string,
    signal: AbortSignal,
    scope?: Scope,
    published?: Published,
  ): Promise<Delta | undefined>;
  /**
   * Hints that something may have changed, e.g. from inotify. Never the only way of noticing: polling goes on. The engine answers
   * hints that come in a row with one sync. Ends when aborted; may throw when hints are impossible.
   */
  watch?(signal: AbortSignal): AsyncIterable<void>;
  /** The name that the source itself has for this version of a file (a generation, a version id), for people: `ls` and `plan` show it. No secrets. */
  version?(entry: FileEntry): string | undefined;
  /** Where the entry's content is a file on this machine, to be moved if disposable, or cloned where the file system shares blocks; otherwise it is read all the same. */
  localPath?(entry: FileEntry): LocalFile | undefined;
  /** What the source signs in with, in words for `pannier doctor`: where it was found, never what it is; `undefined` where it cannot tell. May ask for it. */
  identity?(signal: AbortSignal): Promise<string | undefined>;
  /**
   * Where many files can be read by a thread of the engine, in batches; `undefined` where not, or not now. Asked before each
   * batch, so that keys that were renewed get there: it has to answer quickly. Whatever a thread does not manage is read by
   * {@link Source.read}.
   */
  lane?(signal: AbortSignal): Promise<LaneSpec | undefined>;
  /**
   * True where {@link ByteRange}s are cheap, so that a large file is fetched in parallel parts and resumed after a cut. `resume` where each
   * costs something, so that it is fetched in one and only resumed. Default false.
   */
  readonly ranges?: boolean | "resume" | undefined;
  /** True where equal fingerprints mean equal bytes whatever the repository or URL (a blob id, a digest), so that content is kept when the source's address changes. */
  readonly contentAddressed?: boolean | undefined;
  /**
   * True where what files hold is secret. The state then keeps no digest of them, by which a short password is found; `verify`
   * compares sizes and modes. Fingerprints, refs and tokens must tell nothing of the content either.
   */
  readonly secret?: boolean | undefined;
  /** How many reads at once suit this source; the engine takes the smaller of this and the user's `concurrency`. */
  readonly concurrency?: number | undefined;
  /**
   * Called after each sync that published what was listed last, or found that it is what is published: what the source keeps
   * for older revisions may go. A failure is told as a warning.
   */
  published?(signal: AbortSignal): Promise<void>;
  /** Frees connections, processes and scratch files. Never throws. After {@link SourceContext.idleTimeout} the engine goes on without it. */
  close(): Promise<void>;
}

/** Secrets and trust from outside a URL, named as in the environment variables that the command line reads them from. A `…File` is read again at each use, so that rotated Secrets are taken over. */
export interface Credentials {
  readonly username?: string | undefined;
  readonly password?: string | undefined;
  readonly passwordFile?: string | undefined;
  readonly tokenFile?: string | undefined;
  readonly sshKeyFile?: string | undefined;
  readonly sshKnownHostsFile?: string | undefined;
  /** PEM certificates trusted in addition to the system's. */
  readonly caFile?: string | undefined;
  /** PEM client certificate and its key. */
  readonly clientCertFile?: string | undefined;
  readonly clientKeyFile?: string | undefined;
  /** A Netscape cookie file sent with HTTP requests. */
  readonly cookieFile?: string | undefined;
  /** A URL that answers `username=…` and `password=…` lines. */
  readonly askpassUrl?: string | undefined;
  /** GitHub App: app id (or client id), installation id, private key file, API base URL (for GitHub Enterprise). */
  readonly githubApp?:
    | {
        readonly appId: string;
        readonly installationId: string;
        readonly privateKeyFile: string;
        readonly apiUrl?: string | undefined;
      }
    | undefined;
}

/** Ceilings that protect the volume from a source. Exceeding one is an error, never a truncation. */
export interface Limits {
  /** Files and symlinks in the tree. */
  readonly maxFiles: number;
  /** Bytes in the tree. */
  readonly maxBytes: number;
  /** Bytes in one file. */
  readonly maxFileBytes: number;
  /** How much larger than its archive the unpacked content may be, as a factor (beyond the first 10 MiB). */
  readonly maxExpansion: number;
}

export type { CheckedSignature, SignatureKind, Signer } from "./signers.ts";

/** What the engine gives to a source that is being opened. */
export interface SourceContext {
  readonly credentials: Credentials;
  /**
   * Who is trusted to sign. Where there are any, one of them, of the {@link Adapter.signatures}, has to have signed whatever is
   * listed; anything else is `invalid`.
   */
  readonly signers?: readonly Signer[] | undefined;
  /**
   * The revision that has to be listed, where a lock file says so; asked at each probe and each listing. A source that can go back to it
   * does, and a source that cannot shows what there is: the engine then refuses that. `undefined` where it may be any.
   */
  readonly locked?: (() => string | undefined) | undefined;
  readonly limits: Limits;
  /** Time allowed for a connection to be made and for a server to show any sign of life, in milliseconds. */
  readonly idleTimeout: number;
  /**
   * A directory of this source's own, on the volume of the target, created when first asked for and kept from one run to the next
   * (a git object cache, a half-fetched archive). Its content is the adapter's to keep small. Without a target (`ls`, `doctor`) it is temporary.
   */
  scratch(): Promise<string>;
  /** Tells the user about something odd that does not stop the work. No secrets. */
  warn(message: string): void;
  /**
   * Runs one of the many requests that a long listing takes as the engine runs a read: when its turn comes, fewer at once
   * while the source asks for that, and again where that can help. Everything else is the engine's own to repeat: a listing
   * of a thousand requests that fails at one of them would otherwise hardly ever come to its end.
   */
  retry<Result>(work: () => Promise<Result>, signal: AbortSignal): Promise<Result>;
  /** Counts a request to the source, for metrics and tests. `operation` is a short fixed word such as `list` or `read`. */
  request(operation: string): void;
  /** Of an adapter with {@link Adapter.inFolders}: opens the folder at a path of the URL, percent-encoded, where the scheme names one. */
  readonly folder?: ((pathname: string) => Promise<Folder>) | undefined;
}

/** What a folder is opened with: see {@link SourceContext}. */
export type FolderContext = Pick<SourceContext, "credentials" | "idleTimeout" | "request">;

/** A file that is written to a {@link Folder}. */
export interface FolderFile {
  /** Bytes. */
  readonly size: number;
  /** Called again for each try. */
  readonly content: () => AsyncIterable<Uint8Array>;
  /** Of the content, in hex, where it is known before: a server that can check it does. */
  readonly sha256?: string | undefined;
  /** Of the content, for the server: `application/json`. */
  readonly type: string;
  /**
   * Present for a file that is written again and again, which caches must ask for each time: it is written only if the version there
   * is this one; `undefined`: if there is none. Servers that know no conditions write it in any case.
   */
  readonly replaces?: { readonly version: string | undefined } | undefined;
}

/**
 * Files below a place, by name: a prefix of a bucket, a collection. Sources of another adapter lie in it, and `pannier push` writes to
 * it. Paths have `/` between segments. What is thrown are {@link SourceError}s; nothing is tried again.
 */
export interface Folder {
  /**
   * A file, or a part of it, as it is now; a part is delivered as asked for. `undefined` where it still is the version `unless`.
   *
   * @returns with the content its version, where the server tells one. It is `fresh` where the file was written so shortly before that
   *   it may change once more without another version: servers make versions of times in seconds
   * @throws SourceError `not-found` (or `changed`) where there is no such file
   */
  read(
    path: string,
    how: {
      readonly range?: ByteRange | undefined;
      readonly unless?: string | undefined;
      /** As of {@link SourceContext.request}. */
      readonly operation: string;
    },
    signal: AbortSignal,
  ): Promise<
    | {
        readonly content: AsyncIterable<Uint8Array>;
        readonly version: string | undefined;
        readonly fresh: boolean;
      }
    | undefined
  >;
  /** Bytes of a file; `undefined` where there is none. */
  size(path: string, signal: AbortSignal): Promise<number | undefined>;
  /**
   * Writes a file as a whole. Whether readers can see half of it is the server's: object stores show nothing before the end.
   *
   * @throws SourceError `changed`, transient, where {@link FolderFile.replaces} is not what is there
   */
  write(path: string, file: FolderFile, signal: AbortSignal): Promise<void>;
  /** As {@link Source.identity}. */
  identity(signal: AbortSignal): Promise<string | undefined>;
  /** Never throws. */
  close(): Promise<void>;
}

/** What an adapter package exports. */
export interface Adapter<Specs extends OptionSpecs = OptionSpecs> {
  /** As in `PANNIER_ADAPTER`: `git`, `http`, `s3`. */
  readonly name: string;
  /** The package to install to get it. */
  readonly package: string;
  /** URL schemes that lead to this adapter, without the colon. */
  readonly schemes: readonly string[];
  /** True for a URL of another adapter's scheme that is meant for this one all the same: `https://host/x.git` is git. */
  claims?(location: Location): boolean;
  /** True for a URL of another adapter's scheme that may be meant for this one: its server is asked by {@link recognise}. */
  suspects?(location: Location): boolean;
  /** Asks the server whether a suspected URL is this adapter's, in one request. Throws a {@link SourceError} where that cannot be told now. */
  recognise?(location: Location, context: SourceContext, signal: AbortSignal): Promise<boolean>;
  /** Options in the URL's query (or passed beside it); others are refused with the nearest known name, before `open`. */
  readonly options: Specs;
  /**
   * True where the URL's query belongs to the server as well (`http`: signed URLs). Parameters that are no option, and
   * not nearly the name of one, then stay part of the URL instead of being refused.
   */
  readonly ownQuery?: boolean | undefined;
  /** Kinds of signatures that its sources can be checked for. Default: none, and a source that has to be signed is refused. */
  readonly signatures?: readonly SignatureKind[] | undefined;
  /** One line for `pannier adapters`. */
  readonly description: string;
  /** Checks what can be checked without a network (throws {@link UsageError}) and makes a source; connecting may wait until first use. */
  open(location: Location, options: OptionValues<Specs>, context: SourceContext): Promise<Source>;
  /**
   * True where its sources may lie in a folder of another adapter. The URL then begins with its first scheme, `+` and a scheme of the other
   * (`oci+s3`), and has the options of both in its query. {@link SourceContext.folder} opens the folder. Default false.
   */
  readonly inFolders?: boolean | undefined;
  /** Opens a folder in which sources of other adapters lie. Checks and connects as {@link Adapter.open} does. */
  openFolder?(
    location: Location,
    options: OptionValues<Specs>,
    context: FolderContext,
  ): Promise<Folder>;
}

/** A source that is chosen but not yet opened: what `git(url, options)` returns and `sync({ sources })` takes. */
export interface SourceSpec {
  readonly adapter: Adapter;
  readonly location: Location;
  readonly options: Readonly<Record<string, unknown>>;
}
