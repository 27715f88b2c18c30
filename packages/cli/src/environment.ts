/** All that is read from environment variables. */
import { resolve } from "node:path";
import { type Credentials, nearest, UsageError, variableName } from "@pannier/core";
import { type Flag, FLAGS, type FlagName, parseFlag, type Settings } from "./flags.ts";

export type Environment = Readonly<Record<string, string | undefined>>;

/** A variable's value; an empty one counts as not set, as templates tend to leave such. */
function read(env: Environment, name: string): string | undefined {
  return env[name] === "" ? undefined : env[name];
}

function lines(text: string | undefined): string[] {
  return (text ?? "")
    .split("\n")
    .map((line) => line.trim())
    .filter((line) => line !== "");
}

/** The settings that stand in variables, for those of `flags` that are not among `given`. @throws UsageError */
export function settingsFromEnvironment(
  env: Environment,
  flags: readonly FlagName[],
  given: Settings,
): Settings {
  const settings: Record<string, unknown> = {};
  for (const name of flags) {
    const variable = variableName(name);
    const text = read(env, variable);
    if (given[name] !== undefined || text === undefined) continue;
    const flag: Flag = FLAGS[name];
    settings[name] =
      flag.repeatable === true
        ? lines(text).map((line) => parseFlag(variable, flag, line))
        : parseFlag(variable, flag, text);
  }
  return settings;
}

/** What `SOURCE... TARGET` means, with `PANNIER_SOURCE` (one a line) and `PANNIER_TARGET` standing for what is absent. @throws UsageError */
export function sourcesAndTarget(
  env: Environment,
  args: readonly string[],
): { readonly sources: readonly string[]; readonly target: string } {
  const sources = lines(read(env, "PANNIER_SOURCE"));
  const target = read(env, "PANNIER_TARGET");
  if (args.length >= 2) return { sources: args.slice(0, -1), target: args.at(-1) as string };
  const [only] = args;
  if (only === undefined) {
    if (sources.length === 0) throw missing("source", "SOURCE", "PANNIER_SOURCE");
    if (target === undefined) throw missing("target", "TARGET", "PANNIER_TARGET");
    return { sources, target };
  }
  if (sources.length > 0 && target !== undefined)
    throw new UsageError(
      `"${only.replace(/\/\/[^/]*@/, "//***@")}" may be a source or a target, as PANNIER_SOURCE and PANNIER_TARGET are both set`,
      "give both arguments or none",
    );
  if (sources.length > 0) return { sources, target: only };
  if (target !== undefined) return { sources: [only], target };
  throw missing("target", "TARGET", "PANNIER_TARGET");
}

/** The one argument of `ls` and `doctor`. @throws UsageError */
export function oneSource(env: Environment, argument: string | undefined): string {
  const sources = argument === undefined ? lines(read(env, "PANNIER_SOURCE")) : [argument];
  if (sources.length > 1)
    throw new UsageError(
      "PANNIER_SOURCE holds several sources",
      "name one of them as the argument",
    );
  if (sources[0] === undefined) throw missing("source", "SOURCE", "PANNIER_SOURCE");
  return sources[0];
}

/** The sources in `PANNIER_SOURCE`, of which there may be none. */
export function environmentSources(env: Environment): readonly string[] {
  return lines(read(env, "PANNIER_SOURCE"));
}

/** The argument of `status` and its like. @throws UsageError */
export function oneTarget(env: Environment, argument: string | undefined): string {
  const target = argument ?? read(env, "PANNIER_TARGET");
  if (target === undefined) throw missing("target", "TARGET", "PANNIER_TARGET");
  return target;
}

/** Files with what callers of the HTTP port must show. */
export function callerSecrets(
  env: Environment,
  cwd: string,
): Record<"triggerTokenFile" | "webhookSecretFile", string | undefined> {
  const path = (name: string) => {
    const value = read(env, name);
    return value === undefined ? undefined : resolve(cwd, value);
  };
  return {
    triggerTokenFile: path("PANNIER_TRIGGER_TOKEN_FILE"),
    webhookSecretFile: path("PANNIER_WEBHOOK_SECRET_FILE"),
  };
}

function missing(what: string, argument: string, variable: string): UsageError {
  return new UsageError(`no ${what} is given`, `name it as ${argument}, or in ${variable}`);
}

const PATHS = {
  passwordFile: "PANNIER_PASSWORD_FILE",
  tokenFile: "PANNIER_TOKEN_FILE",
  sshKeyFile: "PANNIER_SSH_KEY_FILE",
  sshKnownHostsFile: "PANNIER_SSH_KNOWN_HOSTS_FILE",
  caFile: "PANNIER_CA_FILE",
  clientCertFile: "PANNIER_CLIENT_CERT_FILE",
  clientKeyFile: "PANNIER_CLIENT_KEY_FILE",
  cookieFile: "PANNIER_COOKIE_FILE",
} as const;

const GITHUB_APP = {
  appId: "PANNIER_GITHUB_APP_ID",
  installationId: "PANNIER_GITHUB_APP_INSTALLATION_ID",
  privateKeyFile: "PANNIER_GITHUB_APP_PRIVATE_KEY_FILE",
} as const;

const GITHUB_API = "PANNIER_GITHUB_APP_API_URL";
const OWN_CREDENTIALS: readonly string[] = [
  "PANNIER_USERNAME",
  "PANNIER_PASSWORD",
  ...Object.values(PATHS),
  "PANNIER_ASKPASS_URL",
  ...Object.values(GITHUB_APP),
];

const PREFIX = "PANNIER_";
/** Every variable with a meaning, those included that only the sidecar reads and that Pannier itself sets for hooks. */
const KNOWN: ReadonlySet<string> = new Set([
  ...Object.keys(FLAGS).map(variableName),
  ...OWN_CREDENTIALS,
  GITHUB_API,
  ...["SOURCE", "TARGET", "TRIGGER_TOKEN_FILE", "WEBHOOK_SECRET_FILE"].map((name) => PREFIX + name),
  "PANNIER_MOUNT",
  "PANNIER_REVISION",
  "PANNIER_PREVIOUS_REVISION",
  "PANNIER_PATH",
  "PANNIER_CHANGES",
  "PANNIER_HOOK_RUN",
]);

/**
 * What Kubernetes sets in every container for a service that is called "pannier" or "pannier-something":
 * https://kubernetes.io/docs/concepts/services-networking/service/#environment-variables
 */
const OF_SERVICES =
  /_(SERVICE_HOST|SERVICE_PORT(_[A-Z0-9_]+)?|PORT(_\d+_(TCP|UDP|SCTP)(_(PROTO|PORT|ADDR))?)?)$/;

/** Variables that are none of ours but nearly so, each with the one that was meant. */
export function mistypedVariables(
  env: Environment,
): readonly (readonly [name: string, meant: string])[] {
  const names = [...KNOWN].map((name) => name.slice(PREFIX.length));
  return Object.keys(env)
    .filter((name) => name.startsWith(PREFIX) && read(env, name) !== undefined)
    .filter((name) => !KNOWN.has(name) && !OF_SERVICES.test(name))
    .flatMap((name) => {
      const meant = nearest(name.slice(PREFIX.length), names);
      return meant === undefined ? [] : [[name, PREFIX + meant] as const];
    });
}

/** Which variables {@link credentialsFromEnvironment} would use: names only. */
export function credentialVariables(env: Environment): string[] {
  return OWN_CREDENTIALS.filter((name) => read(env, name) !== undefined);
}

/** The secrets that stand in variables themselves. */
export function secretsFromEnvironment(env: Environment): (string | undefined)[] {
  return [read(env, "PANNIER_PASSWORD"), read(env, "PANNIER_ASKPASS_URL")];
}

/** Credentials as the adapters take them. Files are named, not read: that happens again at each use. @throws UsageError */
export function credentialsFromEnvironment(env: Environment, cwd: string): Credentials {
  const password = read(env, "PANNIER_PASSWORD");
  if (password !== undefined && read(env, PATHS.passwordFile) !== undefined)
    throw new UsageError(
      "PANNIER_PASSWORD and PANNIER_PASSWORD_FILE are both set",
      "keep one of them: the file, where there is a choice",
    );
  const credentials: Record<string, unknown> = {
    username: read(env, "PANNIER_USERNAME"),
    password,
    askpassUrl: read(env, "PANNIER_ASKPASS_URL"),
    githubApp: githubApp(env, cwd),
  };
  for (const [key, variable] of Object.entries(PATHS)) {
    const path = read(env, variable);
    credentials[key] = path === undefined ? undefined : resolve(cwd, path);
  }
  return credentials;
}

function githubApp(env: Environment, cwd: string): Credentials["githubApp"] {
  const [appId, installationId, privateKeyFile] = Object.values(GITHUB_APP).map((name) =>
    read(env, name),
  );
  const absent = Object.values(GITHUB_APP).filter((name) => read(env, name) === undefined);
  if (absent.length === 3) return undefined;
  if (appId === undefined || installationId === undefined || privateKeyFile === undefined)
    throw new UsageError(`a GitHub App needs ${absent.join(" and ")} as well`);
  return {
    appId,
    installationId,
    privateKeyFile: resolve(cwd, privateKeyFile),
    apiUrl: read(env, GITHUB_API),
  };
}

/** Whether escape sequences may be written to a terminal, and colour (https://no-color.org). */
export function terminalFromEnvironment(env: Environment): {
  readonly dumb: boolean;
  readonly color: boolean;
} {
  const dumb = env["TERM"] === "dumb";
  return { dumb, color: !dumb && read(env, "NO_COLOR") === undefined };
}
