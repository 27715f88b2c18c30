/** Every flag of every command, as data: what the command line, the environment, the help text and the manual are made from. */
import {
  MOUNT_OPTIONS,
  type MountOption,
  listMountOptions,
  parseChoice,
  parseCount,
  parseDuration,
  parseSwitch,
  readOption,
  UsageError,
} from "@pannier/core";

export type Flag = Omit<MountOption, "neededBy">;

/** Where `run` listens, if it does. */
type HttpFlag =
  | { readonly enabled: false }
  | { readonly enabled: true; readonly host: string | undefined; readonly port: number };

const choice = <const Value extends string>(...values: readonly Value[]) => ({
  values,
  placeholder: values.join("|"),
  parse: (value: string) => parseChoice(value, values),
});

const text = (placeholder: string) => ({ placeholder, parse: (value: string) => value });

const onOff = { placeholder: undefined, parse: parseSwitch };

/** `8080`, `:8080`, `127.0.0.1:8080`, `[::1]:8080`, `off`. */
function parseHttp(value: string): HttpFlag {
  if (value === "off") return { enabled: false };
  const [, host, digits] = /^(?:(\[[0-9a-f:.]+\]|[^:[\]]*):)?(\d{1,5})$/i.exec(value) ?? [];
  const port = Number(digits);
  if (digits === undefined || port > 65_535)
    throw new UsageError(
      `"${value}" is not a valid address to listen on`,
      "write a port, HOST:PORT, or off",
    );
  return { enabled: true, host: host?.replace(/^\[|\]$/g, "") || undefined, port };
}

/** Overlay file systems take some 120. */
const MOST_LAYERS = 100;

function parseLayers(value: string): number {
  const layers = parseCount(value, 1);
  if (layers > MOST_LAYERS) throw new UsageError(`an image has at most ${MOST_LAYERS} layers`);
  return layers;
}

/** Nobody asked for it beside the key of the configuration file. */
const { scrub: _, ...MOUNT_FLAGS } = MOUNT_OPTIONS;

export const FLAGS = {
  ...MOUNT_FLAGS,
  adapter: {
    ...text("NAME"),
    description:
      "adapter for URLs that several adapters could read, or the package or path of a third-party adapter",
    otherwise: "by the scheme",
  },
  adapters: {
    placeholder: "LIST",
    parse: (value: string) => value.split(/[\s,]+/).filter((name) => name !== ""),
    description: "adapters to include: names, packages or paths, separated by commas or spaces",
  },
  layers: {
    placeholder: "N",
    parse: (value: string) => parseLayers(value),
    description: "maximum number of layers; 1 makes a plain tar.gz, as Flux reads it",
    default: "100",
  },
  sign: {
    ...text("FILE"),
    description: "private key that signs the image, from cosign or in PEM",
    otherwise: "it is not signed",
  },
  signPasswordFile: {
    ...text("FILE"),
    description: "file with the password of the signing key",
    otherwise: "it has none",
  },
  work: {
    ...text("DIR"),
    description:
      "the directory in which the tree is kept, so that the next push costs what changed",
    otherwise: "one that is removed again",
  },
  out: { ...text("DIR"), description: "directory to write to" },
  dryRun: { ...onOff, description: "show what would change, and write nothing to the tree" },
  once: { ...onOff, description: "sync once, then exit" },
  repair: {
    ...onOff,
    description: "fetch missing and changed files again, and remove files that do not belong",
  },
  mount: {
    ...text("NAME"),
    description: "use the sources and credentials of this mount of the configuration",
  },
  config: { ...text("FILE"), description: "configuration file", default: "pannier.yaml" },
  http: {
    placeholder: "[HOST:]PORT|off",
    parse: parseHttp,
    description: "address of the HTTP port for probes, metrics and the dashboard",
    otherwise: "8080 of every address",
  },
  maxActive: {
    placeholder: "N",
    parse: (value: string) => parseCount(value),
    description: "mounts that sync at the same time",
    default: "4",
  },
  maxFailures: {
    placeholder: "N",
    parse: (value: string) => parseCount(value, 0),
    description: "exit if a mount fails more often than this in a row",
    otherwise: "never",
  },
  shutdownGrace: {
    placeholder: "DURATION",
    parse: (value: string) => parseDuration(value),
    description: "time for running hooks when a signal stops the program",
    default: "10s",
  },
  json: { ...onOff, description: "print results and events as JSON" },
  logFormat: {
    ...choice("text", "json"),
    description: "format of the log on standard error",
    default: "text",
  },
  logLevel: {
    ...choice("debug", "info", "warn", "error"),
    description: "lowest level to log",
    default: "info",
  },
} as const satisfies Record<string, Flag>;

type Flags = typeof FLAGS;

/** By the name of their setting: that of `--max-bytes` is `maxBytes`. */
export type FlagName = keyof Flags;

/** The values of a command's flags; what the user did not set is not there. */
export type Settings = {
  readonly [Name in FlagName]?: Flags[Name] extends { readonly repeatable: true }
    ? readonly ReturnType<Flags[Name]["parse"]>[]
    : ReturnType<Flags[Name]["parse"]>;
};

/** The flags of a mount that a command has use for. */
export function mountFlags(...needed: readonly MountOption["neededBy"][]): FlagName[] {
  return listMountOptions()
    .filter(([name, { neededBy = "plan" }]) => name in MOUNT_FLAGS && needed.includes(neededBy))
    .map(([name]) => name as FlagName);
}

/** `maxBytes` → `max-bytes`. */
export function flagName(setting: string): string {
  return setting.replace(/[A-Z]/g, (letter) => `-${letter.toLowerCase()}`);
}

/** What the help says of a flag. */
export function describeFlag({ description, default: standard, otherwise }: Flag): string {
  const value = standard ?? otherwise;
  return value === undefined ? description : `${description} (default: ${value})`;
}

/** Reads one text of a flag, naming the flag (or its variable) where it is wrong. @throws UsageError */
export function parseFlag(name: string, flag: Flag, value: string): unknown {
  if (value === "") throw new UsageError(`${name} is empty`);
  try {
    return readOption(flag, value);
  } catch (error) {
    if (!(error instanceof UsageError)) throw error;
    throw new UsageError(`${name}: ${error.message}`, error.hint, { cause: error });
  }
}
