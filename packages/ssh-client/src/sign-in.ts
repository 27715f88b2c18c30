/** What to sign in with, in the order in which ssh would: a key file, or else an agent and the user's own keys; then a password. */
import { readFile } from "node:fs/promises";
import { userInfo } from "node:os";
import type { Credentials, Location } from "@pannier/core/adapter";
import { readCredentialFile, readSecret, SourceError, UsageError } from "@pannier/core/lane";
import type { AnyAuthMethod, ParsedKey } from "ssh2";
import { ownFile } from "./home.ts";

type ParseKey = (data: Buffer, passphrase?: string) => ParsedKey | ParsedKey[] | Error;

/** Of the user's own, as ssh tries them. */
const OWN_KEYS = ["id_rsa", "id_ecdsa", "id_ed25519"];

/** @throws UsageError where there is no user name to be had */
export function usernameOf(location: Pick<Location, "username">, credentials: Credentials): string {
  const given = location.username ?? credentials.username;
  if (given !== undefined) return given;
  try {
    return userInfo().username;
  } catch (error) {
    throw new UsageError(
      "there is no user name to sign in with",
      "write USER@ before the host in the URL, or set credentials.username",
      { cause: error },
    );
  }
}

/**
 * Reads keys and passwords again, so that rotated ones are taken over.
 *
 * @throws UsageError on a file that cannot be read; SourceError `auth` on a key that cannot be used
 */
export async function authMethods(
  location: Pick<Location, "username" | "password">,
  credentials: Credentials,
  env: Readonly<Record<string, string | undefined>>,
  parseKey: ParseKey,
): Promise<AnyAuthMethod[]> {
  const username = usernameOf(location, credentials);
  const { sshKeyFile } = credentials;
  const secret = await passwordOf(location, credentials);
  const methods: AnyAuthMethod[] = [];
  let password = secret;
  if (sshKeyFile !== undefined) {
    const { key, encrypted } = await givenKey(sshKeyFile, secret, parseKey);
    methods.push({ type: "publickey", username, key });
    // A passphrase is not for the server.
    if (encrypted) password = undefined;
  } else {
    const agent = env["SSH_AUTH_SOCK"];
    if (agent !== undefined && agent !== "") methods.push({ type: "agent", username, agent });
    for (const key of await ownKeys(parseKey)) methods.push({ type: "publickey", username, key });
  }
  if (password === undefined) return methods;
  const answer = password;
  methods.push({ type: "password", username, password: answer });
  methods.push({
    type: "keyboard-interactive",
    username,
    // Whatever is asked for without an echo is the password.
    prompt: (_name, _instructions, _language, prompts, finish) =>
      finish(prompts.map(({ echo }) => (echo === true ? username : answer))),
  });
  return methods;
}

async function passwordOf(
  location: Pick<Location, "password">,
  { password, passwordFile }: Credentials,
): Promise<string | undefined> {
  if (location.password !== undefined) return location.password;
  if (password !== undefined) return password;
  if (passwordFile === undefined) return undefined;
  return readSecret(passwordFile, "password file");
}

async function givenKey(
  file: string,
  passphrase: string | undefined,
  parseKey: ParseKey,
): Promise<{ key: ParsedKey; encrypted: boolean }> {
  const data = await readCredentialFile(file, "ssh key");
  const plain = asKey(parseKey(data));
  if (!(plain instanceof Error)) return { key: plain, encrypted: false };
  if (!/encrypted/i.test(plain.message)) {
    throw new SourceError("auth", `the ssh key ${file} is not one that can be read`, {
      hint: "it has to be a private key of OpenSSH or PEM: ssh-keygen -p -f FILE converts others",
    });
  }
  const key = passphrase === undefined ? plain : asKey(parseKey(data, passphrase));
  if (!(key instanceof Error)) return { key, encrypted: true };
  throw new SourceError(
    "auth",
    passphrase === undefined
      ? `the ssh key ${file} has a passphrase, and none is given`
      : `the passphrase is not that of the ssh key ${file}`,
    { hint: "put the key's passphrase into the file that credentials.passwordFile names" },
  );
}

/** Those that are there and need no passphrase. */
async function ownKeys(parseKey: ParseKey): Promise<readonly ParsedKey[]> {
  const found: ParsedKey[] = [];
  for (const name of OWN_KEYS) {
    const path = ownFile(name);
    const data = path === undefined ? undefined : await readFile(path).catch(() => undefined);
    const key = data === undefined ? undefined : asKey(parseKey(data));
    if (key !== undefined && !(key instanceof Error)) found.push(key);
  }
  return found;
}

function asKey(parsed: ParsedKey | ParsedKey[] | Error): ParsedKey | Error {
  const key = Array.isArray(parsed) ? parsed[0] : parsed;
  if (key === undefined || key instanceof Error) return key ?? new Error("there is no key in it");
  return key.isPrivateKey() ? key : new Error("it is a public key");
}
