/**
 * What Docker, podman and their like know to sign in with: `config.json` and `auth.json`, and the helpers that they name. Read at each
 * use, so that rotated ones are taken over.
 */
import { execFile } from "node:child_process";
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { SourceError } from "@pannier/core/adapter";

export type Environment = Readonly<Record<string, string | undefined>>;

export interface Login {
  readonly username: string;
  readonly password: string;
  /** An identity token: stands for user and password, and is changed into a token at the registry's token server. */
  readonly identityToken: string | undefined;
  /** Where it was found, in words. */
  readonly from: string;
}

interface ConfigFile {
  readonly auths?: Readonly<Record<string, AuthEntry>>;
  readonly credHelpers?: Readonly<Record<string, string>>;
  readonly credsStore?: string;
}

interface AuthEntry {
  readonly auth?: string;
  readonly username?: string;
  readonly password?: string;
  readonly identitytoken?: string;
}

/** Docker Hub's names for itself. */
const HUB = new Set(["docker.io", "index.docker.io", "registry-1.docker.io"]);
const HUB_SERVER = "https://index.docker.io/v1/";
const HELPER_TIMEOUT = 30_000;

/** The files that there may be, in the order in which they are asked. */
function filesOf(env: Environment): string[] {
  const home = env["HOME"];
  const files = [
    env["REGISTRY_AUTH_FILE"],
    below(env["DOCKER_CONFIG"], "config.json"),
    below(env["XDG_RUNTIME_DIR"], "containers/auth.json"),
    below(env["XDG_CONFIG_HOME"] ?? below(home, ".config"), "containers/auth.json"),
    below(home, ".docker/config.json"),
  ];
  return files.filter((file): file is string => file !== undefined);
}

function below(directory: string | undefined, name: string): string | undefined {
  return directory === undefined || directory === "" ? undefined : join(directory, name);
}

/** What there is for a repository; `undefined` where nothing is. */
export async function findLogin(
  host: string,
  repository: string,
  env: Environment,
): Promise<Login | undefined> {
  for (const path of filesOf(env)) {
    const config = await readConfig(path);
    if (config === undefined) continue;
    const found = await loginIn(config, path, host, repository);
    if (found !== undefined) return found;
  }
  return undefined;
}

async function readConfig(path: string): Promise<ConfigFile | undefined> {
  let text: string;
  try {
    text = await readFile(path, "utf8");
  } catch {
    // Not there, or not ours to read.
    return undefined;
  }
  try {
    return JSON.parse(text) as ConfigFile;
  } catch {
    // Without the parser's own words, which quote the file.
    throw new SourceError("auth", `${path} is not JSON`, { hint: "correct it, or sign in again" });
  }
}

/** The most special entry counts: `host/team/repository` before `host/team` before `host`. */
async function loginIn(
  config: ConfigFile,
  path: string,
  host: string,
  repository: string,
): Promise<Login | undefined> {
  const segments = repository.split("/");
  const names = segments.map((_, index) =>
    [host, ...segments.slice(0, segments.length - index)].join("/"),
  );
  for (const name of [...names, ...(HUB.has(host) ? HUB : [host])]) {
    const helper = pick(config.credHelpers, name);
    if (helper !== undefined) {
      const found = await askHelper(helper, HUB.has(name) ? HUB_SERVER : name);
      if (found !== undefined) return found;
    }
    const entry = pick(config.auths, name);
    if (entry === undefined) continue;
    const login = loginOf(entry, path);
    if (login !== undefined) return login;
  }
  if (config.credsStore === undefined) return undefined;
  return askHelper(config.credsStore, HUB.has(host) ? HUB_SERVER : host);
}

/** Keys are hosts, hosts with a path, or URLs as Docker once wrote them. */
function pick<Value>(
  map: Readonly<Record<string, Value>> | undefined,
  name: string,
): Value | undefined {
  for (const [key, value] of Object.entries(map ?? {})) {
    if (key.replace(/^https?:\/\//, "").replace(/(?:\/v[12])?\/?$/, "") === name) return value;
  }
  return undefined;
}

function loginOf(entry: AuthEntry, path: string): Login | undefined {
  const decoded = Buffer.from(entry.auth ?? "", "base64").toString("utf8");
  const colon = decoded.indexOf(":");
  const username = entry.username ?? (colon === -1 ? "" : decoded.slice(0, colon));
  const password = entry.password ?? (colon === -1 ? "" : decoded.slice(colon + 1));
  const identityToken = entry.identitytoken === "" ? undefined : entry.identitytoken;
  if (password === "" && identityToken === undefined) return undefined;
  return { username, password, identityToken, from: path };
}

/** Asks a credential helper by its protocol: the server's name at its input, JSON at its output. */
async function askHelper(helper: string, server: string): Promise<Login | undefined> {
  const program = `docker-credential-${helper}`;
  if (!/^[\w.-]+$/.test(helper)) {
    throw new SourceError("auth", `${JSON.stringify(helper)} is not a valid name of a helper`);
  }
  const { error, output } = await run(program, server);
  if (error !== undefined) {
    if (/credentials not found/i.test(output)) return undefined;
    const why = error.code === "ENOENT" ? "is not installed" : "failed";
    throw new SourceError("auth", `the credential helper ${program} ${why}`, {
      hint: "install it, or take it out of the configuration of docker or podman",
    });
  }
  let answer: { readonly Username?: unknown; readonly Secret?: unknown };
  try {
    answer = JSON.parse(output) as typeof answer;
  } catch {
    throw new SourceError("auth", `the credential helper ${program} did not answer with JSON`);
  }
  const { Username: username, Secret: secret } = answer;
  if (typeof username !== "string" || typeof secret !== "string" || secret === "") return undefined;
  const isToken = username === "<token>";
  return {
    username: isToken ? "" : username,
    password: isToken ? "" : secret,
    identityToken: isToken ? secret : undefined,
    from: program,
  };
}

function run(
  program: string,
  input: string,
): Promise<{ error: NodeJS.ErrnoException | undefined; output: string }> {
  return new Promise((resolve) => {
    const child = execFile(
      program,
      ["get"],
      { timeout: HELPER_TIMEOUT, maxBuffer: 1 << 20 },
      (error, output) => {
        resolve({ error: (error as NodeJS.ErrnoException | null) ?? undefined, output });
      },
    );
    // One that ends without reading is told of by its exit.
    child.stdin?.on("error", () => {});
    child.stdin?.end(`${input}\n`);
  });
}
