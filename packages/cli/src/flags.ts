/** Every flag of every command, as data: what the command line, the environment and the help text are made from. */
import {
  parseCount,
  parseDuration,
  parseMaxDelete,
  parseDirectoryMode,
  parseMode,
  parseOwner,
  parseSize,
  UsageError,
} from "@pannier/core";

/** The values of a command's flags; what the user did not set is not there. */
export interface Settings {
  readonly adapter?: string;
  readonly adapters?: readonly string[];
  readonly out?: string;
  readonly include?: readonly string[];
  readonly exclude?: readonly string[];
  readonly publish?: "swap" | "mirror";
  readonly link?: string;
  readonly keep?: number;
  /** Milliseconds, like every duration here. */
  readonly period?: number;
  readonly timeout?: number;
  /** Bytes, like every size here. */
  readonly maxBytes?: number;
  readonly maxFiles?: number;
  readonly maxFileBytes?: number;
  readonly maxDelete?: string;
  readonly symlinks?: "inside" | "skip" | "reject" | "all";
  readonly mode?: number;
  readonly dirMode?: number;
  readonly owner?: { readonly uid: number; readonly gid: number };
  readonly concurrency?: number;
  readonly bandwidth?: number;
  readonly verifyContent?: boolean;
  readonly dryRun?: boolean;
  readonly once?: boolean;
  readonly repair?: boolean;
  readonly config?: string;
  readonly mount?: string;
  readonly http?: HttpFlag;
  readonly maxActive?: number;
  readonly maxFailures?: number;
  readonly shutdownGrace?: number;
  readonly json?: boolean;
  readonly logFormat?: "text" | "json";
  readonly logLevel?: "debug" | "info" | "warn" | "error";
}

/** Where `run` listens, if it does. */
type HttpFlag =
  | { readonly enabled: false }
  | { readonly enabled: true; readonly host: string | undefined; readonly port: number };

export interface Flag {
  /** Placeholder of the value in the help text; none: the flag is on or off. */
  readonly value?: string;
  readonly description: string;
  /** @throws UsageError */
  readonly parse?: (text: string) => unknown;
  readonly repeatable?: boolean;
}

const oneOf =
  (...values: string[]) =>
  (text: string): string => {
    if (values.includes(text)) return text;
    throw new UsageError(`"${text}" is not one of ${values.join(", ")}`);
  };

/** `8080`, `:8080`, `127.0.0.1:8080`, `[::1]:8080`, `off`. */
function parseHttp(text: string): HttpFlag {
  if (text === "off") return { enabled: false };
  const [, host, digits] = /^(?:(\[[0-9a-f:.]+\]|[^:[\]]*):)?(\d{1,5})$/i.exec(text) ?? [];
  const port = Number(digits);
  if (digits === undefined || port > 65_535)
    throw new UsageError(`"${text}" is no address to listen at`, "write a port, HOST:PORT, or off");
  return { enabled: true, host: host?.replace(/^\[|\]$/g, "") || undefined, port };
}

export const FLAGS = {
  adapter: {
    value: "NAME",
    description:
      "the adapter to use where a URL leaves it open, or the package or path of a third-party one",
  },
  adapters: {
    value: "LIST",
    parse: (text: string) => text.split(/[\s,]+/).filter((name) => name !== ""),
    description: "the adapters to put in: names, packages or paths, separated by commas or spaces",
  },
  out: { value: "DIR", description: "the directory to write to" },
  include: { value: "GLOB", repeatable: true, description: "only these paths (gitignore's rules)" },
  exclude: { value: "GLOB", repeatable: true, description: "none of these paths" },
  publish: {
    value: "swap|mirror",
    parse: oneOf("swap", "mirror"),
    description: "swap a link to complete trees, or write straight into TARGET (default: swap)",
  },
  link: { value: "NAME", description: "name of the link in TARGET (default: current)" },
  keep: {
    value: "N",
    parse: (text: string) => parseCount(text),
    description: "complete trees kept (default: 2)",
  },
  period: {
    value: "DURATION",
    parse: parseDuration,
    description: "time from one look at the source to the next (default: 60s)",
  },
  timeout: { value: "DURATION", parse: parseDuration, description: "time allowed for one sync" },
  "max-bytes": { value: "SIZE", parse: parseSize, description: "refuse a tree larger than this" },
  "max-files": {
    value: "N",
    parse: (text: string) => parseCount(text),
    description: "refuse a tree of more files than this (default: 2000000)",
  },
  "max-file-bytes": {
    value: "SIZE",
    parse: parseSize,
    description: "refuse a file larger than this",
  },
  "max-delete": {
    value: "N|PERCENT",
    // The text is what the engine takes.
    parse: (text: string) => parseMaxDelete(text) && text,
    description:
      "refuse to delete more than this (default: everything, or over half of 20 or more files)",
  },
  symlinks: {
    value: "inside|skip|reject|all",
    parse: oneOf("inside", "skip", "reject", "all"),
    description:
      "links that stay inside the tree and none other (default), leave the others out, refuse any, keep any",
  },
  mode: {
    value: "OCTAL",
    parse: parseMode,
    description: "mode of every file (default: the source's)",
  },
  "dir-mode": {
    value: "OCTAL",
    parse: parseDirectoryMode,
    description: "mode of every directory (default: 755)",
  },
  owner: { value: "UID[:GID]", parse: parseOwner, description: "owner of everything written" },
  concurrency: {
    value: "N",
    parse: (text: string) => parseCount(text),
    description: "reads at once of each source (default: what suits it, mostly 16)",
  },
  bandwidth: { value: "SIZE", parse: parseSize, description: "bytes a second at most" },
  "verify-content": {
    description: "read every file each time, also where size and time say that it did not change",
  },
  "dry-run": { description: "show what would be done, and write nothing to the tree" },
  once: { description: "sync once, then end" },
  repair: {
    description: "fetch again what is missing or changed, and remove what does not belong",
  },
  config: { value: "FILE", description: "the configuration file (default: pannier.yaml)" },
  mount: {
    value: "NAME",
    description: "the mount of the configuration whose sources are meant, with its credentials",
  },
  http: {
    value: "[HOST:]PORT|off",
    parse: parseHttp,
    description: "where to listen for probes and the like (default: 8080 of every address)",
  },
  "max-active": {
    value: "N",
    parse: (text: string) => parseCount(text),
    description: "mounts at work at once (default: 4)",
  },
  "max-failures": {
    value: "N",
    parse: (text: string) => parseCount(text, 0),
    description: "end when a mount failed more often than this in a row (default: never)",
  },
  "shutdown-grace": {
    value: "DURATION",
    parse: parseDuration,
    description: "time for hooks under way when a signal ends the program (default: 10s)",
  },
  json: { description: "results and events as JSON on standard output" },
  "log-format": {
    value: "text|json",
    parse: oneOf("text", "json"),
    description: "form of the log on standard error (default: text)",
  },
  "log-level": {
    value: "debug|info|warn|error",
    parse: oneOf("debug", "info", "warn", "error"),
    description: "least important message logged (default: info)",
  },
} as const satisfies Record<string, Flag>;

export type FlagName = keyof typeof FLAGS;

/** `max-bytes` → `maxBytes`. */
export function settingName(flag: FlagName): keyof Settings {
  return flag.replace(/-([a-z])/g, (_, letter: string) => letter.toUpperCase()) as keyof Settings;
}

/** `max-bytes` → `PANNIER_MAX_BYTES`. */
export function variableName(flag: FlagName): string {
  return `PANNIER_${flag.replaceAll("-", "_").toUpperCase()}`;
}

/** Reads one text of a flag, naming the flag (or its variable) where it is wrong. @throws UsageError */
export function parseFlag(name: string, flag: Flag, text: string): unknown {
  if (text === "") throw new UsageError(`${name} is empty`);
  try {
    return flag.parse?.(text) ?? text;
  } catch (error) {
    if (!(error instanceof UsageError)) throw error;
    throw new UsageError(`${name}: ${error.message}`, error.hint, { cause: error });
  }
}
