/** What an HTTP request to a git server signs in with: what every HTTP source has, and two ways that only git servers know. */
import { createSign } from "node:crypto";
import {
  type Credentials,
  type Location,
  readSecret,
  SourceError,
  UsageError,
} from "@pannier/core/adapter";
import { type Authorize, type HttpClient, makeAuthorize, readText } from "@pannier/http-client";

export interface GitAuthorize {
  readonly authorize: Authorize;
  /** Forgets what was fetched to sign in with. True where there was something, so that trying again makes sense. */
  forget(): boolean;
}

/** GitHub asks for at most 10 minutes; a minute less on each side allows for clocks that differ. */
const JWT_SECONDS = 480;
const CLOCK_SECONDS = 60;

/**
 * @param origin of the repository: the only one that gets the credentials
 * @param client for the askpass URL and GitHub's API; it must not sign in by itself
 */
export function gitAuthorize(
  origin: string,
  location: Pick<Location, "username" | "password">,
  credentials: Credentials,
  env: Readonly<Record<string, string | undefined>>,
  client: HttpClient,
): GitAuthorize {
  const { askpassUrl, githubApp, tokenFile } = credentials;
  const plain = makeAuthorize({
    origin,
    username: location.username,
    password: location.password,
    // Git servers take a token as a password, whatever the user is called; GitHub takes it in no other way.
    credentials:
      tokenFile !== undefined && location.username === undefined
        ? { ...credentials, username: credentials.username ?? "x-access-token" }
        : credentials,
    env,
  });
  const fetchSecret =
    githubApp !== undefined
      ? () => installationToken(githubApp, client)
      : askpassUrl !== undefined
        ? () => askpass(askpassUrl, client)
        : undefined;
  const ownSecret = location.password !== undefined;
  if (fetchSecret === undefined || ownSecret) return { authorize: plain, forget: () => false };

  let secret: Promise<Secret> | undefined;
  return {
    async authorize(url) {
      const headers = await plain(url);
      if (url.origin !== origin) return headers;
      if (secret !== undefined && (await secret).expires <= Date.now()) secret = undefined;
      secret ??= fetchSecret();
      try {
        return { ...headers, authorization: (await secret).authorization };
      } catch (error) {
        secret = undefined;
        throw error;
      }
    },
    forget() {
      const had = secret !== undefined;
      secret = undefined;
      return had;
    },
  };
}

interface Secret {
  readonly authorization: string;
  /** Milliseconds since the epoch. */
  readonly expires: number;
}

function basic(username: string, password: string): string {
  return `Basic ${Buffer.from(`${username}:${password}`).toString("base64")}`;
}

/** A URL that answers lines `username=…` and `password=…`. Asked again when the server no longer takes the answer. */
async function askpass(url: string, client: HttpClient): Promise<Secret> {
  const response = await client.request(url, {
    operation: "askpass",
    subject: "the askpass URL",
  });
  const text = await readText(response.body, 64 * 1024);
  const value = (name: string) => new RegExp(`^${name}=(.*?)\\r?$`, "m").exec(text)?.[1];
  const username = value("username");
  const password = value("password");
  if (username === undefined || password === undefined)
    throw new SourceError("auth", "the askpass URL did not answer with a user and a password", {
      hint: "it has to answer lines username=… and password=…",
    });
  return { authorization: basic(username, password), expires: Number.POSITIVE_INFINITY };
}

/**
 * A token of a GitHub App's installation, valid for an hour:
 * https://docs.github.com/en/apps/creating-github-apps/authenticating-with-a-github-app/authenticating-as-a-github-app-installation
 */
async function installationToken(
  app: NonNullable<Credentials["githubApp"]>,
  client: HttpClient,
): Promise<Secret> {
  const api = (app.apiUrl ?? "https://api.github.com").replace(/\/+$/, "");
  const response = await client.request(
    `${api}/app/installations/${encodeURIComponent(app.installationId)}/access_tokens`,
    {
      method: "POST",
      operation: "token",
      subject: "the GitHub App",
      headers: {
        authorization: `Bearer ${await appJwt(app)}`,
        accept: "application/vnd.github+json",
        "x-github-api-version": "2022-11-28",
      },
    },
  );
  const { token, expires_at: expires } = parseJson(await readText(response.body, 64 * 1024));
  if (typeof token !== "string" || typeof expires !== "string" || Number.isNaN(Date.parse(expires)))
    throw new SourceError("auth", "GitHub's answer holds no installation token");
  return {
    authorization: basic("x-access-token", token),
    expires: Date.parse(expires) - CLOCK_SECONDS * 1000,
  };
}

function parseJson(text: string): { readonly token?: unknown; readonly expires_at?: unknown } {
  try {
    return (JSON.parse(text) ?? {}) as object;
  } catch {
    return {};
  }
}

function base64Json(value: object): string {
  return Buffer.from(JSON.stringify(value)).toString("base64url");
}

async function appJwt(app: NonNullable<Credentials["githubApp"]>): Promise<string> {
  const now = Math.floor(Date.now() / 1000);
  const claims = { iat: now - CLOCK_SECONDS, exp: now + JWT_SECONDS, iss: app.appId };
  const signed = `${base64Json({ alg: "RS256", typ: "JWT" })}.${base64Json(claims)}`;
  const key = await readSecret(app.privateKeyFile, "GitHub App's private key");
  try {
    return `${signed}.${createSign("RSA-SHA256").update(signed).sign(key, "base64url")}`;
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    throw new UsageError(
      `the GitHub App's private key ${app.privateKeyFile} cannot be used (${code ?? "not a key"})`,
      "give the PEM file that GitHub made for the app",
    );
  }
}
