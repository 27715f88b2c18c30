/** What the adapter and its helper process tell each other. */

/** The first message to a helper. */
export interface Start {
  /** An address. */
  readonly server: string;
  /** `undefined`: 2049 for version 4; for version 3 as the portmapper says. */
  readonly port?: number | undefined;
  readonly mountPort?: number | undefined;
  readonly version: 3 | 4;
  /** On the server, with a `/` at the beginning and none at the end, except for the root. */
  readonly path: string;
  readonly uid?: number | undefined;
  readonly gid?: number | undefined;
  /** Milliseconds that the server may be silent while it owes an answer. */
  readonly idleTimeout: number;
}

export type Question =
  /** What the source's path leads to now. What is asked after that is asked of what was found. */
  | { readonly ask: "look" }
  /** A directory's content, relative to what was found, `""` for that itself. */
  | { readonly ask: "list"; readonly path: string; readonly most: number }
  /** Bytes of a file, then what it is after they were read. */
  | {
      readonly ask: "read";
      readonly path: string;
      readonly offset: number;
      readonly length: number;
    };

export type Kind = "file" | "directory" | "symlink" | "special";

export interface Facts {
  readonly kind: Kind;
  readonly size: number;
  /** Permission bits. */
  readonly mode: number;
  /** Of the modification time, since the epoch. */
  readonly seconds: number;
  readonly nanoseconds: number;
}

export interface Found extends Facts {
  readonly name: string;
  /** Of a symlink. */
  readonly target?: string | undefined;
}

/** `gone`: its name was listed, and what it stands for does not exist. */
export type Item = Found | { readonly name: string; readonly kind: "gone" };

/** Why something failed, as libnfs has it. */
export interface Problem {
  /**
   * `mount`: no connection was made to the export. `call`: the server's answer about a path. `connection`: there is no
   * longer one. `silent`: the server owed an answer and sent nothing. `library`, `koffi`: they cannot be used here. `full`: a
   * directory has too many names. `untold`: the server does not tell what something is. `replaced`: it is something else by now.
   */
  readonly step:
    | "mount"
    | "call"
    | "connection"
    | "silent"
    | "library"
    | "koffi"
    | "full"
    | "untold"
    | "replaced";
  /** Positive, of Linux; 0 where there is none. */
  readonly errno: number;
  /** In libnfs's words: for a cause only. */
  readonly text: string;
  /** Whether the helper may use ports below 1024. */
  readonly privileged?: boolean;
}

export type ToHelper =
  | { readonly start: Start }
  | { readonly id: number; readonly question: Question }
  | { readonly cancel: number };

export type FromHelper =
  /** While there is something to do. */
  | { readonly alive: true }
  | {
      readonly id: number;
      readonly items?: readonly Item[];
      readonly facts?: Facts;
      readonly problem?: Problem;
      /** More of the answer follows. */
      readonly more?: boolean;
    };
