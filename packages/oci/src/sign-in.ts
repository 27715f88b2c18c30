/** Signing in to a registry: what its challenge asks for, and the tokens that its token server gives. */
import {
  type Credentials,
  type Location,
  readSecret,
  readToken as readTokenFile,
  SourceError,
} from "@pannier/core/adapter";
import { type HttpClient, type HttpResponse, readText, statusError } from "@pannier/http-client";
import { makeCloudLogin } from "./cloud/cloud.ts";
import { type Environment, findLogin, type Login } from "./docker-config.ts";

/** Bytes of a token server's answer at most. */
const MAX_ANSWER = 1 << 20;
/** Seconds that a token counts where the server does not say, and milliseconds before its end at which it is asked for again. */
const DEFAULT_LIFE = 60;
const EARLY = 10_000;

export interface RegistrySignIn {
  /** The headers of a request to the registry. */
  headers(): Promise<Readonly<Record<string, string>>>;
  /**
   * Looks at a 401 of the registry.
   *
   * @returns whether there is something to sign in with that was not refused just now
   */
  answer(refused: HttpResponse, signal: AbortSignal): Promise<boolean>;
  /** What it signs in with, in words. */
  identity(): Promise<string>;
}

export interface SignInInit {
  readonly client: HttpClient;
  readonly registry: URL;
  readonly host: string;
  readonly repository: string;
  /** `pull`, or `pull,push`. */
  readonly actions: string;
  readonly location: Pick<Location, "username" | "password">;
  readonly credentials: Credentials;
  readonly env: Environment;
}

type Challenge =
  | { readonly scheme: "basic" }
  | {
      readonly scheme: "bearer";
      readonly realm: URL;
      readonly service: string | undefined;
      readonly scope: string;
    };

export function makeSignIn(init: SignInInit): RegistrySignIn {
  /** What the registry asked for last: nothing is sent before it asks. */
  let challenge: Challenge | undefined;
  let token: { readonly header: string; readonly until: number } | undefined;
  const { host, registry, client: http } = init;
  const cloudLogin = makeCloudLogin({ host, registry, http });

  async function login(): Promise<Login | { readonly bearer: string; from: string } | undefined> {
    const { location, credentials } = init;
    const { username = credentials.username, password } = location;
    if (password !== undefined) return made(username, password, "the URL");
    if (credentials.password !== undefined) {
      return made(username, credentials.password, "credentials.password");
    }
    if (credentials.passwordFile !== undefined) {
      const secret = await readSecret(credentials.passwordFile, "password file");
      return made(username, secret, "credentials.passwordFile");
    }
    if (credentials.tokenFile !== undefined) {
      const secret = await readTokenFile(credentials.tokenFile, "token file");
      const from = "credentials.tokenFile";
      return username === undefined ? { bearer: secret, from } : made(username, secret, from);
    }
    return (await findLogin(init.host, init.repository, init.env)) ?? cloudLogin();
  }

  async function authorize(asked: Challenge, signal: AbortSignal): Promise<string | undefined> {
    const found = await login();
    if (found !== undefined && "bearer" in found) return `Bearer ${found.bearer}`;
    if (asked.scheme === "basic") {
      return found === undefined || found.identityToken !== undefined ? undefined : basic(found);
    }
    const { bearer, life } = await askTokenServer(init.client, asked, found, signal);
    token = { header: `Bearer ${bearer}`, until: Date.now() + life * 1000 - EARLY };
    return token.header;
  }

  return {
    async headers() {
      if (token !== undefined && Date.now() < token.until) return { authorization: token.header };
      // Files are read at each use. A token is only asked for when the registry wants one.
      if (challenge?.scheme !== "basic") return {};
      const found = await login();
      if (found === undefined) return {};
      return { authorization: "bearer" in found ? `Bearer ${found.bearer}` : basic(found) };
    },
    async answer(refused, signal) {
      const before = token?.header ?? (await this.headers())["authorization"];
      token = undefined;
      challenge = readChallenge(refused.headers["www-authenticate"], init);
      if (challenge === undefined) return false;
      const header = await authorize(challenge, signal);
      if (header === undefined || header === before) return false;
      // A token of the user's own has no end that is known.
      token ??= { header, until: challenge.scheme === "basic" ? 0 : Infinity };
      return true;
    },
    async identity() {
      const found = await login();
      return found === undefined ? "nothing: as anybody" : `what ${found.from} has`;
    },
  };
}

function made(username: string | undefined, password: string, from: string): Login {
  return { username: username ?? "", password, identityToken: undefined, from };
}

function basic({ username, password }: Login): string {
  return `Basic ${Buffer.from(`${username}:${password}`, "utf8").toString("base64")}`;
}

/** RFC 9110, 11.6.1: several challenges may stand in one line. A token server is asked where there is one. */
function readChallenge(
  header: string | undefined,
  { registry, repository, actions }: SignInInit,
): Challenge | undefined {
  const bearer = /(?:^|,)\s*bearer\s+(.*)$/is.exec(header ?? "")?.[1];
  if (bearer === undefined) {
    return /(?:^|,)\s*basic(?:\s|$)/i.test(header ?? "") ? { scheme: "basic" } : undefined;
  }
  const value = (name: string) =>
    new RegExp(`(?:^|[\\s,])${name}\\s*=\\s*"([^"]*)"`, "i").exec(bearer)?.[1];
  const realm = URL.parse(value("realm") ?? "");
  if (realm === null || !/^https?:$/.test(realm.protocol)) {
    throw new SourceError("invalid", "the registry names no token server that can be asked");
  }
  if (registry.protocol === "https:" && realm.protocol === "http:") {
    throw new SourceError("invalid", "the registry names a token server without TLS", {
      hint: "a password would be readable on the way: ask who runs the registry",
    });
  }
  return {
    scheme: "bearer",
    realm,
    service: value("service"),
    scope: value("scope") ?? `repository:${repository}:${actions}`,
  };
}

/** The distribution project's token authentication: GET with user and password, POST with an identity token. */
async function askTokenServer(
  client: HttpClient,
  { realm, service, scope }: Extract<Challenge, { scheme: "bearer" }>,
  login: Login | undefined,
  signal: AbortSignal,
): Promise<{ bearer: string; life: number }> {
  const url = new URL(realm);
  const asked = { ...(service === undefined ? {} : { service }), scope };
  const identity = login?.identityToken;
  const what = {
    operation: "sign in",
    subject: "the token server",
    signal,
    expect: "any",
  } as const;
  let response: HttpResponse;
  if (identity === undefined) {
    for (const [name, value] of Object.entries(asked)) url.searchParams.set(name, value);
    const headers = login === undefined ? {} : { authorization: basic(login) };
    response = await client.request(url, { ...what, headers });
  } else {
    response = await client.request(url, {
      ...what,
      method: "POST",
      headers: { "content-type": "application/x-www-form-urlencoded" },
      body: new URLSearchParams({
        ...asked,
        grant_type: "refresh_token",
        client_id: "pannier",
        refresh_token: identity,
      }).toString(),
    });
  }
  if (response.status !== 200) {
    await response.discard();
    const signedIn = login !== undefined;
    const status = response.status === 400 || response.status === 403 ? 401 : response.status;
    throw statusError(status, response.headers, "the token server: ", signedIn);
  }
  let answer: { token?: unknown; access_token?: unknown; expires_in?: unknown };
  try {
    answer = JSON.parse(await readText(response.body, MAX_ANSWER)) as typeof answer;
  } catch (error) {
    if (error instanceof SourceError) throw error;
    // Without the parser's own words, which quote the token.
    throw new SourceError("invalid", "the token server: its answer is not JSON");
  }
  const bearer = answer.token ?? answer.access_token;
  if (typeof bearer !== "string" || !/^[\x21-\x7e]+$/.test(bearer)) {
    throw new SourceError("invalid", "the token server: its answer holds no token");
  }
  const life = Number(answer.expires_in);
  return { bearer, life: life > 0 ? life : DEFAULT_LIFE };
}
