/**
 * Signing in by Google's own chain (application default credentials): `GOOGLE_APPLICATION_CREDENTIALS`, what gcloud
 * left in its directory, the metadata server. The files may hold a key, a user's consent, a workload identity
 * federation or an impersonation. Where the chain finds nothing: `PANNIER_TOKEN_FILE`.
 */
import { existsSync } from "node:fs";
import { join } from "node:path";
import {
  type Credentials,
  readCredentialFile,
  readToken,
  SourceError,
  UsageError,
  untilAborted,
} from "@pannier/core";
import { type Environment, type HttpClient, readBytes } from "@pannier/http-client";
import type { AuthClient } from "google-auth-library";
import { isNothingFound, signInError } from "./errors.ts";

const SCOPE = "https://www.googleapis.com/auth/devstorage.read_only";
/** Part of a token's life after which a new one is fetched. */
const FRESH = 0.9;
const MAX_ANSWER = 1 << 20;

type Headers = Readonly<Record<string, string>>;

export interface SignIn {
  /** The headers of a signed request. Renewed before they expire; every file is read anew then. */
  headers(signal: AbortSignal): Promise<Headers>;
  /** The server took these headers. */
  accepted(headers: Headers): void;
  /**
   * The server refused these headers: they are not used again.
   *
   * @returns whether others may be accepted: these were good before (a token that was revoked or expired early)
   */
  refused(headers: Headers): boolean;
  /** Signs in, and says where the credentials for that were found. */
  identity(signal: AbortSignal): Promise<string>;
}

export interface SignInInit {
  readonly anonymous: boolean;
  readonly project: string | undefined;
  readonly credentials: Credentials;
  readonly env: Environment;
  /** For asking for tokens: proxy, authorities and timeouts are those of every other request. */
  readonly http: HttpClient;
}

interface Token {
  readonly headers: Headers;
  /** Milliseconds since the epoch. */
  readonly until: number;
}

export function makeSignIn(init: SignInInit): SignIn {
  const { anonymous, credentials, env } = init;
  let token: Token | undefined;
  let renewing: Promise<Token> | undefined;
  const good = new WeakSet<Headers>();
  let chainIsEmpty = false;

  async function headers(signal: AbortSignal): Promise<Headers> {
    if (anonymous) return {};
    if (token !== undefined && token.until > Date.now()) return token.headers;
    // All that ask meanwhile wait for the same new one, and nobody's abort takes it from the others.
    renewing ??= renew().finally(() => (renewing = undefined));
    token = await untilAborted(renewing, signal);
    return token.headers;
  }

  return {
    headers,
    accepted: (accepted) => void good.add(accepted),
    refused(refused) {
      if (token?.headers === refused) token = undefined;
      return good.has(refused);
    },
    async identity(signal) {
      await headers(signal);
      if (anonymous) return "nothing: anonymous";
      if (chainIsEmpty) return "a token from credentials.tokenFile";
      const file = credentialsFile(env);
      if (file === undefined) return "the metadata server's service account";
      return `${await kindOf(file.path)}, from ${file.from}`;
    },
  };

  async function renew(): Promise<Token> {
    if (!chainIsEmpty) {
      try {
        return await askGoogle(init);
      } catch (error) {
        if (!isNothingFound(error)) throw signInError(error);
        chainIsEmpty = true;
      }
    }
    if (credentials.tokenFile === undefined) {
      throw new SourceError("auth", "no credentials of Google were found", {
        hint: "set GOOGLE_APPLICATION_CREDENTIALS or credentials.tokenFile, or anonymous=true for a public bucket",
      });
    }
    // Whoever writes the file renews it: it is read anew each time.
    return { headers: await fromTokenFile(credentials.tokenFile), until: 0 };
  }
}

async function askGoogle({ env, project, http }: SignInInit): Promise<Token> {
  const file = credentialsFile(env);
  // The library's own message would quote the file.
  if (file !== undefined) await kindOf(file.path);
  const { GoogleAuth } = await import("google-auth-library");
  const transport = {
    fetchImplementation: fetchBy(http),
    // Proxies are our business, and trying again is the engine's.
    noProxy: [/./],
    retryConfig: { retry: 0, noResponseRetries: 0 },
  };
  const auth = new GoogleAuth({
    scopes: SCOPE,
    // Without one the library looks for it: it starts gcloud, and asks the metadata server.
    projectId: project ?? "none",
    clientOptions: { transporterOptions: transport },
  });
  const client: AuthClient = await auth.getClient();
  // Not every kind of client hands these options on to those that it makes for itself.
  const { sourceClient, stsCredential } = client as unknown as Partial<Record<string, AuthClient>>;
  for (const one of [client, sourceClient, stsCredential]) {
    if (one !== undefined) Object.assign(one.transporter.defaults, transport);
  }
  const headers = Object.fromEntries((await client.getRequestHeaders()).entries());
  const now = Date.now();
  // Workforce federation keeps its token elsewhere.
  const { cachedAccessToken: kept } = client as unknown as {
    readonly cachedAccessToken?: { readonly expiry_date?: number } | null;
  };
  const life = (client.credentials.expiry_date ?? kept?.expiry_date ?? now) - now;
  return { headers, until: now + life * FRESH };
}

/** Where the chain finds a file: https://cloud.google.com/docs/authentication/application-default-credentials */
function credentialsFile(env: Environment): { path: string; from: string } | undefined {
  const named = env["GOOGLE_APPLICATION_CREDENTIALS"] || env["google_application_credentials"];
  if (named) return { path: named, from: "GOOGLE_APPLICATION_CREDENTIALS" };
  const home = env["HOME"];
  const directory = env["CLOUDSDK_CONFIG"] || (home && join(home, ".config", "gcloud"));
  if (!directory) return undefined;
  const path = join(directory, "application_default_credentials.json");
  return existsSync(path) ? { path, from: "gcloud's application default credentials" } : undefined;
}

const KINDS: Readonly<Record<string, string>> = {
  service_account: "a service account's key",
  authorized_user: "a user's consent",
  external_account: "workload identity federation",
  external_account_authorized_user: "workforce identity federation",
  impersonated_service_account: "an impersonated service account",
  gdch_service_account: "a service account of Distributed Cloud",
};

/** @throws UsageError when the file cannot be read, or holds nothing that could be credentials */
async function kindOf(path: string): Promise<string> {
  const text = (await readCredentialFile(path, "credentials file")).toString();
  let type: unknown;
  try {
    ({ type } = JSON.parse(text) as { readonly type?: unknown });
  } catch {
    // Neither the parser's words nor the error itself: they quote the file.
    throw new UsageError(
      `the credentials file ${path} is not JSON`,
      "check GOOGLE_APPLICATION_CREDENTIALS",
    );
  }
  const kind = typeof type === "string" && Object.hasOwn(KINDS, type) ? KINDS[type] : undefined;
  if (kind !== undefined) return kind;
  throw new UsageError(
    `the credentials file ${path} is of no kind that is known`,
    'its "type" is service_account, external_account or the like',
  );
}

async function fromTokenFile(path: string): Promise<Headers> {
  return { authorization: `Bearer ${await readToken(path, "token file")}` };
}

/** `fetch` as Google's library calls it, over our connections. */
function fetchBy(http: HttpClient): typeof fetch {
  return async (input, request) => {
    const { body } = request ?? {};
    const response = await http.request(input as URL, {
      method: (request?.method ?? "GET") as "GET" | "POST" | "PUT",
      headers: Object.fromEntries(new Headers(request?.headers).entries()),
      body: body === null || body === undefined ? undefined : String(body),
      // A token goes where it was asked for, and nowhere else.
      redirect: "manual",
      expect: "any",
      operation: "sign-in",
      subject: "signing in",
      signal: request?.signal ?? undefined,
    });
    const bytes = await readBytes(response.body, MAX_ANSWER);
    const { status, headers } = response;
    return new Response(bytes.length === 0 ? null : new Uint8Array(bytes), {
      status,
      headers: headers as Record<string, string>,
    });
  };
}
