/** What an adapter's author writes so that the suite can run: a store with content that it can change. */
import type { Adapter, Credentials, SourceErrorCode } from "@pannier/core/adapter";

/** One file or symlink to put into a store. */
export type StoreFile =
  | {
      readonly kind: "file";
      readonly content: Uint8Array;
      /** Permission bits; only given where {@link Traits.modes} says that they are kept. Default: whatever the store does. */
      readonly mode?: number | undefined;
    }
  | { readonly kind: "symlink"; readonly target: string };

/** Files by path: relative, `/` between the segments. In a change, `undefined` stands for a deletion. */
export type StoreFiles = ReadonlyMap<string, StoreFile | undefined>;

/** How to open a source: what a user would write and set. */
export interface SourceAddress {
  readonly url: string;
  /** Options beside those in the URL. */
  readonly options?: Readonly<Record<string, unknown>> | undefined;
  readonly credentials?: Credentials | undefined;
}

/** Which part of a store to open, and by which way. */
export interface Route {
  /** Directory of the store to open as a source's root. Default: the whole store. */
  readonly directory?: string | undefined;
  /** Port on 127.0.0.1 to connect to instead of the server's own: the fault proxy's. Not given where {@link Traits.network} is `none`. */
  readonly port?: number | undefined;
}

/** A place that holds files and that the adapter can read: a directory, a repository, a bucket. */
export interface Store {
  source(route: Route): SourceAddress;
  /**
   * Puts and deletes files, all in one go. Resolves once a listing shows it and fingerprints no longer change by
   * themselves. May be called while a file is being read.
   */
  change(files: StoreFiles): Promise<void>;
  /** Makes a directory one that the source may not read. Where it is there, a listing must not enter what is not wanted. */
  deny?(directory: string): Promise<void>;
  /** Where the server listens, unless {@link Traits.network} is `none`. */
  readonly server?: { readonly host: string; readonly port: number } | undefined;
  /** Frees everything. */
  close(): Promise<void>;
}

/** What a source cannot do, as data. All default to what asks most of it. */
export interface Traits {
  /** Symlinks are listed as such. Default true. */
  readonly symlinks?: boolean | undefined;
  /** Which permission bits are listed. `executable`: 0o644 and 0o755 are told apart. Default `all`. */
  readonly modes?: "all" | "executable" | "none" | undefined;
  /** Every file has a modification time. Default true. */
  readonly mtimes?: boolean | undefined;
  /** Every file has a size. Default true. */
  readonly sizes?: boolean | undefined;
  /** A directory of the store can be opened as a source of its own. Default true. */
  readonly directories?: boolean | undefined;
  /** A change is noticed even if size and modification time (to the second) stay the same. Default true. */
  readonly exactChanges?: boolean | undefined;
  /** Wrong bytes from the network are noticed: by a digest of the content, a checksum, encryption. Default false. */
  readonly integrity?: boolean | undefined;
  /**
   * How the store is reached. `tcp`: by a {@link Store.server}, and the tests with the fault proxy apply. `http`: by
   * plain HTTP, where the proxy can answer in the server's place as well. Default `none`.
   */
  readonly network?: "none" | "tcp" | "http" | undefined;
  /** Whether the store can hold a file of this path. Default: every path. */
  readonly holds?: ((path: string) => boolean) | undefined;
}

/** An adapter with stores to try it on. */
export interface Harness {
  readonly adapter: Adapter;
  readonly traits?: Traits | undefined;
  /** Makes a store that holds exactly these files. Called for nearly every test, so share servers between stores. */
  create(files: StoreFiles): Promise<Store>;
  /**
   * Addresses that must fail with the code they stand for, each made from a store that is there: a wrong password for
   * `auth`, a missing bucket for `not-found`.
   */
  readonly failures?:
    | Partial<Record<SourceErrorCode, (store: Store) => SourceAddress | Promise<SourceAddress>>>
    | undefined;
  /** Texts that must be in no error and no warning, beside the passwords and tokens of the addresses. */
  readonly secrets?: readonly string[] | undefined;
}

export interface SuiteOptions {
  /** Bytes of the largest file. It should be more than buffers on the way hold, so that a read can be disturbed. Default 64 MiB. */
  readonly largeFile?: number | undefined;
  /** Files of the long listing. Default 2,500: three pages of an object store. */
  readonly manyFiles?: number | undefined;
  /** Milliseconds of silence after which the source has to give up in the tests of faults. Default 400; a server that starts a process for each connection may need longer for that on a busy machine. */
  readonly idleTimeout?: number | undefined;
  /** Milliseconds that one test may take. A call of the source that says nothing for a third of that fails the test by its name. Default 60,000. */
  readonly timeout?: number | undefined;
}
