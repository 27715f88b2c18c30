/**
 * Every option of a mount, as data: the program's flags and variables, the keys of the configuration file and their schema,
 * {@link SyncOptions}, their checks and the tables of the manual are all made from this.
 */
import { resolve } from "node:path";
import { MAX_FILES } from "../snapshot/bounded.ts";
import { parseMaxDelete } from "../snapshot/guard.ts";
import { unsafePath } from "../source/path.ts";
import { UsageError } from "../source/errors.ts";
import { parseSigner, signerIn } from "../source/signers.ts";
import {
  parseChoice,
  parseCount,
  parseDirectoryMode,
  parseDuration,
  parseMode,
  parseOwner,
  parseSize,
  parseSwitch,
} from "../units.ts";
import { HOME } from "../volume/layout.ts";

export interface MountOption {
  /** Reads the value as users write it. @throws UsageError */
  readonly parse: (text: string) => unknown;
  /** Looks at a value, wherever it comes from; `name` is what messages call it. @throws UsageError */
  check?(value: unknown, name: string): void;
  /** The values that there are, where they are words. */
  readonly values?: readonly string[];
  /** What stands for the value in help texts; none: the option is on or off. */
  readonly placeholder?: string | undefined;
  /** Where the value names a file: the same value, the file taken as relative to a directory. @throws UsageError */
  resolve?(directory: string, text: string): string;
  /** The option takes a list of values. */
  readonly repeatable?: true;
  /** What it does: the end of a sentence, without a full stop. */
  readonly description: string;
  /** The value that holds where none is given, as users write it. */
  readonly default?: string;
  /** What holds where none is given and there is no such value. */
  readonly otherwise?: string;
  /** The heading of docs/concepts.md under which there is more, as in a link. */
  readonly concept?: string;
  /** What needs it: every plan of a tree, or only a sync, or only what goes on syncing. Default `plan`. */
  readonly neededBy?: "plan" | "sync" | "follow";
}

const asIs = (text: string): string => text;

const choice = <const Value extends string>(...values: readonly Value[]) => ({
  values,
  placeholder: values.join("|"),
  parse: (text: string) => parseChoice(text, values),
});

const globs = { placeholder: "GLOB", repeatable: true, parse: asIs } as const;

const count = {
  placeholder: "N",
  parse: (text: string) => parseCount(text),
  check: atLeastOne,
};

const size = { placeholder: "SIZE", parse: (text: string) => parseSize(text) };
const limit = { ...size, check: atLeastOne };

const duration = { placeholder: "DURATION", parse: (text: string) => parseDuration(text) };
const time = { ...duration, check: aboveZero };

const onOff = { placeholder: undefined, parse: parseSwitch };

export const MOUNT_OPTIONS = {
  /** Globs of paths wanted. Default: all. */
  include: {
    ...globs,
    description: "only these paths, by gitignore's rules",
    otherwise: "all",
    concept: "filters",
  },
  /** Globs of paths not wanted; wins over `include`. */
  exclude: {
    ...globs,
    description: "none of these paths, even if include matches them",
    otherwise: "none",
    concept: "filters",
  },
  /** `swap`: complete trees below `.pannier`, made visible by replacing one symlink. `mirror`: files straight into the target. */
  publish: {
    ...choice("swap", "mirror"),
    description: "swap a link to complete trees, or write straight into the target",
    default: "swap",
    concept: "on-the-volume",
  },
  /** Name of the symlink in the target. Default `current`. */
  link: {
    placeholder: "NAME",
    parse: asIs,
    check: checkLink,
    description: "name of the link in the target",
    default: "current",
  },
  /** Complete trees kept, the published one included. Default 2. */
  keep: {
    ...count,
    description: "revisions to keep, including the published one",
    default: "2",
  },
  /** Milliseconds from one look at the sources to the next. Default 60,000. */
  period: {
    ...time,
    description: "time between two polls of the sources, with a random tenth more or less",
    default: "60s",
    neededBy: "follow",
  },
  /** Milliseconds for opening the sources, and again for the whole sync. Default: none. */
  timeout: {
    ...time,
    description: "time limit of one sync, and of opening the sources before it",
    otherwise: "none; 1h with run",
  },
  /** Milliseconds between two comparisons of every published byte with what was recorded. Default 24 h; 0: never. */
  scrub: {
    ...duration,
    description:
      "time between two comparisons of every published byte with what was recorded; 0: never",
    default: "24h",
    neededBy: "follow",
  },
  /** Bytes in the tree. Default: unlimited. */
  maxBytes: { ...limit, description: "refuse a tree larger than this", otherwise: "none" },
  /** Files and symlinks in the tree. Default: 2,000,000. A source may list so many at least, whatever is wanted of them. */
  maxFiles: {
    ...count,
    description: "refuse a tree with more files than this",
    default: String(MAX_FILES),
  },
  /** Bytes in one file. Default: unlimited. */
  maxFileBytes: { ...limit, description: "refuse a file larger than this", otherwise: "none" },
  /** `50%`, `1000`. Default: a source that became empty, or a deletion of more than half of 20 or more files, is refused. */
  maxDelete: {
    placeholder: "N|PERCENT",
    // The text is what the guard takes.
    parse: (text: string): string | number => parseMaxDelete(text) && text,
    check: (value: string | number) => void parseMaxDelete(value),
    description: "refuse to delete more files than this",
    otherwise: "all, or over half of 20 or more",
    concept: "the-delete-guard",
  },
  /** What to do with symlinks that leave the tree. Default `inside`: refuse the source. */
  symlinks: {
    ...choice("inside", "skip", "reject", "all"),
    description:
      "keep links inside the tree and refuse others, leave others out, refuse any, keep any",
    default: "inside",
    concept: "symlinks",
  },
  /** Permission bits of every file. Default: the source's, else 0o644. */
  mode: {
    placeholder: "OCTAL",
    parse: parseMode,
    description: "mode of every file",
    otherwise: "the source's",
  },
  /** Permission bits of every directory. Default 0o755. */
  dirMode: {
    placeholder: "OCTAL",
    parse: parseDirectoryMode,
    check: checkDirectoryMode,
    description: "mode of every directory",
    default: "755",
  },
  /** Owner of everything written. Default: the process's own. */
  owner: {
    placeholder: "UID[:GID]",
    parse: parseOwner,
    description: "owner of everything Pannier writes; needs the permission to change owners",
    otherwise: "the process's",
  },
  /**
   * Who has to have signed each source: `ssh:FILE`, `openpgp:FILE`, `cosign-key:FILE`, `sigstore:FILE?identity=WHO&issuer=URL`, `minisign:FILE` or `minisign:KEY`. One of them is
   * enough. What none of them signed is refused before it is listed. Default: nobody.
   */
  signedBy: {
    placeholder: "KIND:FILE",
    repeatable: true,
    parse: (text: string) => parseSigner(text).text,
    resolve: signerIn,
    description: "refuse content that none of these signed",
    otherwise: "nobody has to sign",
    concept: "signatures",
  },
  /** The file to which each layer's source, revision and digest are written, or which says what they have to be. Default: none. */
  lock: {
    placeholder: "FILE",
    parse: asIs,
    resolve: (directory: string, file: string) => resolve(directory, file),
    description: "record the revision of each source in this lock file",
    otherwise: "none",
    concept: "lock-files",
    neededBy: "sync",
  },
  /** Publish just what the lock file says, or fail. Default false. */
  locked: {
    ...onOff,
    description: "publish exactly what the lock file records, or fail",
    otherwise: "off",
    concept: "lock-files",
    neededBy: "sync",
  },
  /** Reads at once of each source. Default: what its adapter says suits it, else 16. */
  concurrency: {
    ...count,
    description: "parallel reads per source",
    otherwise: "what suits it, mostly 16",
  },
  /** Bytes a second, over all reads of this mount. Default: unlimited. */
  bandwidth: { ...size, description: "maximum bytes per second", otherwise: "unlimited" },
  /**
   * Read every file at each sync, and compare its content with what is published: for sources where size and time are all that tells two
   * versions of a file apart, and content may change without them. Files whose fingerprint is a digest of their content are not read again. Default false.
   */
  verifyContent: {
    ...onOff,
    description: "read every file at each sync, even if its size and time are the same",
    otherwise: "off",
    concept: "changes-that-do-not-show",
    neededBy: "sync",
  },
} as const satisfies Record<string, MountOption>;

type Options = typeof MOUNT_OPTIONS;

export type MountOptionName = keyof Options;

/** What a program gives: the values that `parse` makes. */
export type MountOptionValues = {
  readonly [Name in keyof Options]?:
    | (Options[Name] extends { readonly repeatable: true }
        ? readonly ReturnType<Options[Name]["parse"]>[]
        : ReturnType<Options[Name]["parse"]>)
    | undefined;
};

/** The table for those who go through it. */
export const listMountOptions = (): (readonly [MountOptionName, MountOption])[] =>
  Object.entries(MOUNT_OPTIONS) as (readonly [MountOptionName, MountOption])[];

type WithDefault = {
  [Name in MountOptionName]: Options[Name] extends { readonly default: string } ? Name : never;
}[MountOptionName];

/** The value that holds where none is given. */
export function standardOf<Name extends WithDefault>(
  name: Name,
): ReturnType<Options[Name]["parse"]> {
  const option: MountOption = MOUNT_OPTIONS[name];
  return option.parse(option.default as string) as ReturnType<Options[Name]["parse"]>;
}

/** Reads and checks a value as users write it. @throws UsageError */
export function readOption({ parse, check }: MountOption, text: string): unknown {
  const value = parse(text);
  check?.(value, "it");
  return value;
}

/** @throws UsageError for a value that cannot be */
export function checkMountOptions(values: MountOptionValues): void {
  for (const [name, { check }] of listMountOptions()) {
    const value = values[name];
    if (value !== undefined) check?.(value, name);
  }
}

function atLeastOne(value: number, name: string): void {
  if (!(value >= 1)) throw new UsageError(`${name} must be at least 1, not ${value}`);
}

function aboveZero(milliseconds: number, name: string): void {
  if (!(milliseconds > 0)) throw new UsageError(`${name} must be greater than 0`);
}

function checkLink(link: string): void {
  if (unsafePath(link) !== undefined || link.includes("/") || link === HOME)
    throw new UsageError(
      `the link name ${JSON.stringify(link)} cannot be used`,
      "choose a plain file name",
    );
}

function checkDirectoryMode(mode: number): void {
  if ((mode & 0o500) !== 0o500)
    throw new UsageError(
      `the directory mode 0${mode.toString(8)} keeps Pannier itself out`,
      "let the owner read and enter directories, as 0555 and 0755 do",
    );
}
