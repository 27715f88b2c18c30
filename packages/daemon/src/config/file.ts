/** Reading and checking a configuration file. */
import { readFileSync } from "node:fs";
import { dirname, resolve } from "node:path";
import { listMountOptions, nearest, signerIn, UsageError } from "@pannier/core";
import type * as core from "zod/v4/core";
import {
  type AdapterChoice,
  type CommandConfig,
  type DaemonConfig,
  DEFAULTS,
  definedOf,
  type HooksConfig,
  httpConfig,
  type MountConfig,
  type MountDefaults,
  mountOptions,
  nameOf,
  type Overrides,
  type PostPublishConfig,
} from "./config.ts";
import {
  configJsonSchema,
  configSchema,
  type ConfigFile,
  type MountFile,
  type SourceFile,
} from "./schema.ts";
import { restingConfig } from "./last-good.ts";
import { ConfigError } from "./error.ts";
import { parseYaml, type Place, readLeniently } from "./yaml.ts";

export interface ReadConfigInit {
  readonly env: Readonly<Record<string, string | undefined>>;
  readonly overrides?: Overrides;
}

/**
 * @param file absolute path
 * @throws ConfigError naming the file, and the line and the key of each mistake
 * @throws UsageError where the file cannot be read
 */
export function readConfigFile(file: string, init: ReadConfigInit): DaemonConfig {
  let text: string;
  try {
    text = readFileSync(file, "utf8");
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    throw new UsageError(
      `the configuration ${file} cannot be read (${code})`,
      "name it with --config or PANNIER_CONFIG",
      { cause: error },
    );
  }
  try {
    return parseConfig(text, dirname(file), init);
  } catch (error) {
    if (!(error instanceof ConfigError)) throw error;
    throw new ConfigError(error.problems, file, { cause: error });
  }
}

/**
 * Where the mounts and the port of a file seem to be that cannot be taken over as it is: whatever is wrong with the rest of it, these
 * are mostly still to be read.
 *
 * @returns `undefined` where it names no target
 */
export function guessConfig(file: string, init: ReadConfigInit): DaemonConfig | undefined {
  let data: unknown;
  try {
    data = readLeniently(readFileSync(file, "utf8"), init.env);
  } catch {
    return undefined;
  }
  const { mounts, http } = mappingOf(data);
  const found = (Array.isArray(mounts) ? mounts : []).flatMap((mount) => {
    const { name, target: written, publish, link } = mappingOf(mount);
    if (typeof written !== "string" || written === "") return [];
    const target = resolve(dirname(file), written);
    return {
      name: typeof name === "string" ? name : nameOf(target),
      target,
      publish: publish === "mirror" ? ("mirror" as const) : ("swap" as const),
      link: typeof link === "string" ? link : undefined,
    };
  });
  const { host, port, enabled } = mappingOf(http);
  if (found.length === 0) return undefined;
  return restingConfig(
    found.map((mount) => definedOf(mount) as { name: string; target: string }),
    httpConfig({
      enabled: enabled !== "false",
      host: typeof host === "string" ? host : undefined,
      port: typeof port === "string" && /^\d{1,5}$/.test(port) ? Number(port) : undefined,
      ...definedOf(init.overrides?.http ?? {}),
    }),
  );
}

function mappingOf(value: unknown): Readonly<Record<string, unknown>> {
  return typeof value === "object" && value !== null ? (value as Record<string, unknown>) : {};
}

/** @throws ConfigError naming the line and the key of each mistake */
export function parseConfig(text: string, cwd: string, init: ReadConfigInit): DaemonConfig {
  const { data, place, problems } = parseYaml(text, init.env);
  // What YAML itself does not allow has no parts to look at.
  if (problems.length > 0) throw new ConfigError(problems);
  const parsed = configSchema.safeParse(data, { reportInput: true });
  if (!parsed.success) {
    const issues = parsed.error.issues.flatMap(flatten);
    // A mistyped key is also the cause of a missing one.
    const inOrder = [true, false].flatMap((first) =>
      issues.filter(({ code }) => (code === "unrecognized_keys") === first),
    );
    throw new ConfigError(inOrder.flatMap((issue) => describe(issue, place)));
  }
  const config = complete(parsed.data, cwd, init.overrides ?? {});
  const shared = sharedParts(config, place);
  if (shared.length > 0) throw new ConfigError(shared);
  return config;
}

function sharedParts({ mounts }: DaemonConfig, place: Place): string[] {
  const problems: string[] = [];
  for (const [index, { name, options }] of mounts.entries()) {
    const named = mounts.findIndex((mount) => mount.name === name);
    if (named !== index)
      problems.push(
        `${place(["mounts", index])}: mounts[${index}] is called "${name}", as mounts[${named}] is: give each mount a name of its own`,
      );
    const aimed = mounts.findIndex((mount) => mount.options.target === options.target);
    if (aimed !== index)
      problems.push(
        `${place(["mounts", index, "target"])}: mounts[${index}].target is that of mounts[${aimed}]: give each mount a target of its own`,
      );
    const locked = mounts.findIndex((mount) => mount.options.lock === options.lock);
    if (options.lock !== undefined && locked !== index)
      problems.push(
        `${place(["mounts", index, "lock"])}: mounts[${index}].lock is that of mounts[${locked}]: give each mount a lock file of its own`,
      );
  }
  return problems;
}

/** Of a union's alternatives, the one that comes nearest to what was written. */
function flatten(issue: core.$ZodIssue): core.$ZodIssue[] {
  if (issue.code !== "invalid_union") return [issue];
  const [best] = issue.errors.toSorted(
    (a, b) => wrongKind(a) - wrongKind(b) || unknownKeys(a) - unknownKeys(b) || a.length - b.length,
  );
  if (best === undefined || best.length === 0 || wrongKind(best) === 1) return [issue];
  return best
    .map((inner) => ({ ...inner, path: [...issue.path, ...inner.path] }) as core.$ZodIssue)
    .flatMap(flatten);
}

/** 1 where it is a text instead of a mapping, or the like. */
function wrongKind(branch: readonly core.$ZodIssue[]): number {
  return branch.some(({ code, path }) => code === "invalid_type" && path.length === 0) ? 1 : 0;
}

function unknownKeys(branch: readonly core.$ZodIssue[]): number {
  return branch.flatMap((issue) => (issue.code === "unrecognized_keys" ? issue.keys : [])).length;
}

/** One text a mistake: an issue can be about several keys. */
function describe(issue: core.$ZodIssue, place: Place): string[] {
  if (issue.code !== "unrecognized_keys") return [describeValue(issue, place)];
  const where = issue.path.length === 0 ? "" : ` in ${keyOf(issue.path)}`;
  const known = keysAt(issue.path);
  return issue.keys.map((name) => {
    const near = nearest(name, known);
    const advice =
      near === undefined ? `known here: ${known.join(", ")}` : `did you mean "${near}"?`;
    return `${place(issue.path, name)}: unknown key "${name}"${where}: ${advice}`;
  });
}

function describeValue(issue: core.$ZodIssue, place: Place): string {
  const key = keyOf(issue.path) || "the file";
  switch (issue.code) {
    case "invalid_type": {
      const what = { array: "a list", object: "a mapping", record: "a mapping" }[
        issue.expected as string
      ];
      return issue.input === undefined && issue.path.length > 0
        ? `${place(issue.path)}: ${key} is missing`
        : `${place(issue.path)}: ${key} must be ${what ?? "text"}`;
    }
    case "invalid_value":
      return `${place(issue.path)}: ${key} must be one of ${issue.values.join(", ")}`;
    case "too_small":
      return `${place(issue.path)}: ${key} is empty`;
    case "invalid_format":
      return `${place(issue.path)}: ${key} has the wrong form${issue.message === "Invalid input" ? "" : `: ${issue.message}`}`;
    case "invalid_union":
      return `${place(issue.path)}: ${key} has the wrong form`;
    default:
      return `${place(issue.path)}: ${key}: ${issue.message}`;
  }
}

/** `mounts[0].hooks.prePublish`. */
function keyOf(path: readonly PropertyKey[]): string {
  return path
    .map((part) => (typeof part === "number" ? `[${part}]` : `.${String(part)}`))
    .join("")
    .replace(/^\./, "");
}

interface JsonSchema {
  readonly properties?: Readonly<Record<string, JsonSchema>>;
  readonly items?: JsonSchema;
  readonly anyOf?: readonly JsonSchema[];
}

/** The keys that the schema knows at a place. */
function keysAt(path: readonly PropertyKey[]): string[] {
  const alternatives = (schema: JsonSchema): JsonSchema[] =>
    schema.anyOf === undefined ? [schema] : schema.anyOf.flatMap(alternatives);
  let here = alternatives(configJsonSchema() as JsonSchema);
  for (const part of path)
    here = here
      .map((schema) =>
        typeof part === "number" ? schema.items : schema.properties?.[String(part)],
      )
      .filter((schema) => schema !== undefined)
      .flatMap(alternatives);
  return [...new Set(here.flatMap(({ properties }) => Object.keys(properties ?? {})))];
}

function complete(file: ConfigFile, cwd: string, overrides: Overrides): DaemonConfig {
  const { triggerTokenFile, webhookSecretFile, ...http } = file.http ?? {};
  const inFolder = (path: string | undefined) =>
    path === undefined ? undefined : resolve(cwd, path);
  return {
    mounts: file.mounts.map((mount) => completeMount(mount, cwd, overrides.mount ?? {})),
    http: httpConfig({
      ...http,
      triggerTokenFile: inFolder(triggerTokenFile),
      webhookSecretFile: inFolder(webhookSecretFile),
      ...definedOf(overrides.http ?? {}),
    }),
    maxActive: overrides.maxActive ?? file.maxActive ?? DEFAULTS.maxActive,
    maxFailures: overrides.maxFailures ?? file.maxFailures,
    shutdownGrace: overrides.shutdownGrace ?? file.shutdownGrace ?? DEFAULTS.shutdownGrace,
  };
}

function completeMount(
  file: MountFile,
  cwd: string,
  { adapter: standard, ...defaults }: MountDefaults,
): MountConfig {
  const { name, target: written, sources, adapter, credentials, push, hooks, ...own } = file;
  const target = resolve(cwd, written);
  return {
    name: name ?? nameOf(target),
    sources: sources.map((source: SourceFile) => ({
      url: source.url,
      into: source.into,
      adapter: source.adapter,
      credentials: absolute(source.credentials ?? credentials, cwd),
      signedBy: source.signedBy?.map((signer) => signerIn(cwd, signer)),
    })),
    adapter: chooseAdapter(adapter, standard),
    options: mountOptions({ ...definedOf(defaults), ...filesIn(own, cwd) }, target),
    hooks: completeHooks(hooks, completePush(push, cwd)),
  };
}

/** What it says itself, files of it taken as relative to the file's directory. */
function filesIn(own: MountDefaults, cwd: string): MountDefaults {
  const values: Record<string, unknown> = definedOf(own);
  for (const [name, { resolve: inDirectory }] of listMountOptions()) {
    const value = values[name];
    if (inDirectory === undefined || value === undefined) continue;
    values[name] = Array.isArray(value)
      ? value.map((one: string) => inDirectory(cwd, one))
      : inDirectory(cwd, value as string);
  }
  return values;
}

function chooseAdapter(
  own: string | undefined,
  standard: string | undefined,
): AdapterChoice | undefined {
  if (own !== undefined) return { name: own, isOwn: true };
  return standard === undefined ? undefined : { name: standard, isOwn: false };
}

function completePush(push: MountFile["push"], cwd: string): HooksConfig["push"] {
  if (push === undefined) return undefined;
  const { to, layers, credentials, sign } = typeof push === "string" ? { to: push } : push;
  return {
    push: to,
    layers,
    credentials: absolute(credentials, cwd),
    ...(sign === undefined ? {} : { sign: absolute(sign, cwd) }),
    retries: 5,
  };
}

function completeHooks(
  { prePublish, postPublish = [] }: NonNullable<MountFile["hooks"]> = {},
  push?: HooksConfig["push"],
): HooksConfig {
  return {
    prePublish:
      prePublish === undefined
        ? undefined
        : { ...completeCommand(prePublish), retry: prePublish.retry ?? 600_000 },
    ...(push === undefined ? {} : { push }),
    postPublish: (Array.isArray(postPublish) ? postPublish : [postPublish]).map(
      (hook): PostPublishConfig => {
        const retries = hook.retries ?? 5;
        if ("command" in hook) return { ...completeCommand(hook), retries };
        if ("process" in hook)
          return { process: hook.process, signal: signalNamed(hook.signal), retries };
        const { url, method = "POST", headers = {}, timeout = 10_000 } = hook;
        return { url, method, headers, timeout, retries };
      },
    ),
  };
}

function completeCommand(hook: {
  readonly command: readonly string[];
  readonly timeout?: number | undefined;
  readonly env?: Readonly<Record<string, string>> | undefined;
}): CommandConfig {
  return { command: hook.command, timeout: hook.timeout ?? 60_000, env: hook.env ?? {} };
}

function signalNamed(name: string): NodeJS.Signals {
  return (name.startsWith("SIG") ? name : `SIG${name}`) as NodeJS.Signals;
}

/** With the paths of its files relative to the configuration's directory. */
function absolute<Value extends object | undefined>(value: Value, cwd: string): Value {
  if (value === undefined) return value;
  const entries = Object.entries(value).map(([key, part]: [string, unknown]) => [
    key,
    typeof part === "object" && part !== null
      ? absolute(part, cwd)
      : key.endsWith("File") && part !== undefined
        ? resolve(cwd, part as string)
        : part,
  ]);
  return Object.fromEntries(entries) as Value;
}
