/**
 * What requests are signed in with, the first of: nothing, where that is asked for; the key in the URL; the variables
 * that `az storage` reads, where they are for this account (connection string, key, SAS); an identity of Microsoft Entra
 * ID that variables name; a key or a SAS given to Pannier; whatever identity DefaultAzureCredential finds by looking
 * around, which takes seconds where there is none.
 */
import { type Credentials, type Location, readToken, UsageError } from "@pannier/core/adapter";
import type { Environment, HttpClient } from "@pannier/http-client";
import { accountOf, parseConnectionString } from "./connection-string.ts";
import { entraSignIn, namedIdentity } from "./entra.ts";
import { parseEndpoint } from "./options.ts";
import { sharedKeyAuthorization, type SignableRequest } from "./shared-key.ts";

/** What is added to a request. */
export interface Signature {
  readonly headers?: Readonly<Record<string, string>> | undefined;
  /** To be appended to the query as it is. Secret. */
  readonly query?: string | undefined;
}

export interface SignIn {
  /** Where the credentials come from, as `doctor` shows it. */
  readonly source: string;
  /** Files are read anew each time. */
  sign(request: SignableRequest, signal: AbortSignal): Promise<Signature>;
  /** The server took this signature. */
  accepted(signature: Signature): void;
  /** The server refused this signature. @returns whether another may be accepted: the credentials were renewed meanwhile, or can be */
  refused(signature: Signature): Promise<boolean>;
}

export interface SignInInit {
  readonly account: string;
  readonly anonymous: boolean;
  /** The option; wins over a connection string's. */
  readonly endpoint: string | undefined;
  readonly location: Location;
  readonly credentials: Credentials;
  readonly env: Environment;
  /** For asking for tokens: proxy, authorities and timeouts are those of every other request. */
  readonly http: HttpClient;
}

/** @returns how to sign in, and where the blob service is: `https://ACCOUNT.blob.core.windows.net` unless something says otherwise */
export function chooseSignIn(init: SignInInit): { signIn: SignIn; endpoint: URL } {
  const { account, env } = init;
  const text = init.anonymous ? undefined : env["AZURE_STORAGE_CONNECTION_STRING"];
  const all = text ? parseConnectionString(text) : undefined;
  const connection = all !== undefined && accountOf(all) === account ? all : undefined;
  const endpoint =
    init.endpoint === undefined
      ? (connection?.endpoint ?? new URL(`https://${account}.blob.core.windows.net`))
      : parseEndpoint(init.endpoint, 'option "endpoint"');
  return { signIn: choose(init, endpoint, connection), endpoint };
}

function choose(
  init: SignInInit,
  endpoint: URL,
  connection: ReturnType<typeof parseConnectionString> | undefined,
): SignIn {
  const { account, anonymous, location, credentials, env } = init;
  if (anonymous)
    return {
      source: "none: anonymous",
      sign: async () => ({}),
      accepted() {},
      refused: async () => false,
    };
  if (location.password !== undefined)
    return byKey(account, location.password, "the key in the URL");

  const variable = "AZURE_STORAGE_CONNECTION_STRING";
  if (connection?.key !== undefined)
    return byKey(account, connection.key, `the key in ${variable}`);
  if (connection?.sas !== undefined) return bySas(connection.sas, `the SAS in ${variable}`);
  // Without the account's name the variables are for whatever account is asked for, as az has it.
  if ((env["AZURE_STORAGE_ACCOUNT"] || account) === account) {
    const { AZURE_STORAGE_KEY: key, AZURE_STORAGE_SAS_TOKEN: sas } = env;
    if (key) return byKey(account, key, "AZURE_STORAGE_KEY");
    if (sas) return bySas(sas, "AZURE_STORAGE_SAS_TOKEN");
  }

  const { password, passwordFile, tokenFile } = credentials;
  const named = namedIdentity(env) !== undefined;
  if (!named && password !== undefined)
    return byKey(account, password, "credentials.password (the account's key)");
  if (!named && passwordFile !== undefined) {
    const read = () => readToken(passwordFile, "password file");
    return byKey(account, read, "credentials.passwordFile (the account's key)");
  }
  if (!named && tokenFile !== undefined) {
    return bySas(() => readToken(tokenFile, "token file"), "credentials.tokenFile (a SAS)");
  }
  if (endpoint.protocol === "http:" && !isLoopback(endpoint.hostname)) {
    throw new UsageError(
      "a token would be sent over plain http to the endpoint",
      "use https, or sign in with an account key",
    );
  }
  return entraSignIn(init);
}

/** Text, or a file that is read anew each time. */
type Secret = string | (() => Promise<string>);

function byKey(account: string, key: Secret, source: string): SignIn {
  // The replica that can be read is signed for as the account itself.
  const signed = account.replace(/-secondary$/, "");
  return bySecret(key, source, checkKey, (current, request) => ({
    headers: { authorization: sharedKeyAuthorization(signed, current, request) },
  }));
}

function bySas(sas: Secret, source: string): SignIn {
  return bySecret(sas, source, queryOf, (query) => ({ query }));
}

function bySecret(
  secret: Secret,
  source: string,
  check: (text: string, source: string) => string,
  sign: (checked: string, request: SignableRequest) => Signature,
): SignIn {
  const fixed = typeof secret === "string" ? check(secret, source) : undefined;
  const read = async () => fixed ?? check(await (secret as () => Promise<string>)(), source);
  const used = new WeakMap<Signature, string>();
  return {
    source,
    async sign(request) {
      const current = await read();
      const signature = sign(current, request);
      used.set(signature, current);
      return signature;
    },
    accepted() {},
    refused: async (signature) => used.get(signature) !== (await read()),
  };
}

function checkKey(key: string, source: string): string {
  if (/^[A-Za-z0-9+/]{4,}={0,2}$/.test(key)) return key;
  throw new UsageError(`${source} is no key of a storage account`, "a key is written in Base64");
}

/** A SAS as the portal and `az` give it: with `?` or without, or as the URL that it belongs to. */
function queryOf(sas: string, source: string): string {
  const query = sas.slice(sas.indexOf("?") + 1);
  if (/^[\x21-\x7e]+$/.test(query) && /(^|&)sig=/.test(query) && !query.includes("#")) return query;
  throw new UsageError(
    `${source} is no shared access signature`,
    "it begins like sv=… and has a sig=…",
  );
}

function isLoopback(host: string): boolean {
  return host === "localhost" || host === "[::1]" || /^127\.\d+\.\d+\.\d+$/.test(host);
}
