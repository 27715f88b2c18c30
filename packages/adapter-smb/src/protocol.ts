/**
 * What a source and its helper processes say to each other: requests one way, exactly one answer to each the other way, in
 * their order. Answers that bring content have its bytes behind them.
 */

/** How the helper is to reach the server. It travels by a pipe: arguments and variables of a process can be seen by others. */
export interface Connection {
  /** As `smb://host:port/share`, without a `/` at the end. */
  readonly share: string;
  readonly user: string;
  readonly password: string;
  readonly domain: string | undefined;
  readonly encrypt: "auto" | "required";
  readonly sign: "auto" | "required" | "off";
  /** `password`: NTLMv2; `kerberos`: the tickets of the user's cache; `guest`: nothing is known. */
  readonly by: "password" | "kerberos" | "guest";
}

/** Paths are below the share, encoded as in URLs, and start with a `/` unless they are the share itself. */
export type Request =
  /** The first. The answer says whether the library is there. */
  | { readonly op: "start"; readonly connection: Connection }
  | { readonly op: "stat"; readonly path: string }
  /** Of more names than `most` none is told. */
  | { readonly op: "list"; readonly path: string; readonly most: number }
  /** The first bytes of a file, and its facts once it is closed again. */
  | { readonly op: "file"; readonly path: string; readonly length: number }
  | { readonly op: "open"; readonly path: string }
  | {
      readonly op: "read";
      readonly handle: number;
      readonly offset: number;
      readonly length: number;
    }
  /** The facts are those after it is closed, see `Library.open`. */
  | { readonly op: "close"; readonly handle: number; readonly path: string };

/** What is known of a file or directory. */
export interface Facts {
  readonly kind: "file" | "directory";
  readonly size: number;
  /** Of the last modification, since the epoch. */
  readonly seconds: number;
  readonly nanoseconds: number;
}

export interface NamedFacts extends Facts {
  readonly name: string;
}

/** Why a request failed: the name of a number of errno, as the library gives it, or a word of ours in lower case. */
export interface Failure {
  readonly failed: string;
  /** For people. */
  readonly detail?: string | undefined;
}

export interface Answers {
  readonly start: Record<never, never>;
  readonly stat: { readonly facts: Facts };
  /** Its content is a {@link NamedFacts} as JSON to a line: of many they need not be read in one go. */
  readonly list: Record<never, never>;
  readonly file: { readonly facts: Facts };
  readonly open: { readonly handle: number; readonly facts: Facts };
  readonly read: Record<never, never>;
  readonly close: { readonly facts: Facts };
}
