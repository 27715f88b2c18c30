/** What a request signs in with. Every file is read again each time, so that rotated Secrets are taken over. */
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { type Credentials, readCredentialFile, readSecret, readToken } from "@pannier/core/adapter";
import { cookieHeader } from "./cookies.ts";
import { findNetrcEntry, type NetrcEntry } from "./netrc.ts";
import type { Environment } from "./proxy.ts";

/** The headers that sign in to a URL, for a request by that method; empty where there is nothing to sign in with. */
export type Authorize = (url: URL, method?: string) => Promise<Readonly<Record<string, string>>>;

/** Where credentials come from. */
export interface SignIn {
  /** The source's own origin (`https://host:port`): the only one that user, password and token are for. */
  readonly origin: string;
  /** From the URL. */
  readonly username?: string | undefined;
  readonly password?: string | undefined;
  readonly credentials: Credentials;
  /** `NETRC`, or `HOME` for `~/.netrc`. */
  readonly env: Environment;
}

/**
 * Makes the function that signs requests in. First match: user and password of the URL; the host's entry in `.netrc`;
 * user and password (or its file) of the credentials; the token file (as Bearer, or with a user name as its password);
 * the `default` entry of `.netrc`. Cookies are added from the cookie file. Another origin than the source's gets only
 * what a file names for its host.
 */
export function makeAuthorize(signIn: SignIn): Authorize {
  const { credentials, env } = signIn;
  return async (url) => {
    const headers: Record<string, string> = {};
    const authorization = await authorizationFor(signIn, url);
    if (authorization !== undefined) headers["authorization"] = authorization;
    if (credentials.cookieFile !== undefined) {
      const cookies = await readCredentialFile(credentials.cookieFile, "cookie file", {
        mayBeEmpty: true,
      });
      const cookie = cookieHeader(cookies.toString(), url);
      if (cookie !== undefined) headers["cookie"] = cookie;
    }
    return headers;
  };

  async function authorizationFor(from: SignIn, url: URL): Promise<string | undefined> {
    const own = url.origin === from.origin;
    const { username, password } = from;
    if (own && username !== undefined && password !== undefined) return basic(username, password);
    const netrc = await readNetrc(env, url.hostname, own ? username : undefined);
    if (netrc !== undefined && !netrc.isDefault) return basicOf(netrc);
    if (!own) return undefined;
    const user = username ?? credentials.username;
    const secret =
      credentials.password ??
      (credentials.passwordFile === undefined
        ? undefined
        : await readSecret(credentials.passwordFile, "password file"));
    if (secret !== undefined) return basic(user ?? "", secret);
    if (credentials.tokenFile !== undefined) {
      const token = await readToken(credentials.tokenFile, "token file");
      return user === undefined ? `Bearer ${token}` : basic(user, token);
    }
    if (user !== undefined) return basic(user, "");
    return netrc === undefined ? undefined : basicOf(netrc);
  }
}

function basic(username: string, password: string): string {
  return `Basic ${Buffer.from(`${username}:${password}`, "utf8").toString("base64")}`;
}

function basicOf(entry: NetrcEntry): string {
  return basic(entry.login ?? "", entry.password ?? "");
}

/** What `.netrc` says of a host, for a user if one is named; `undefined` where that is nothing, or there is none. */
export async function readNetrc(
  env: Environment,
  host: string,
  login: string | undefined,
): Promise<NetrcEntry | undefined> {
  const path =
    env["NETRC"] ?? (env["HOME"] === undefined ? undefined : join(env["HOME"], ".netrc"));
  if (path === undefined) return undefined;
  try {
    return findNetrcEntry(await readFile(path, "utf8"), host, login);
  } catch {
    // Not there, or not ours to read (a home that belongs to another user): nothing to sign in with.
    return undefined;
  }
}
