/**
 * Where the container is and what requests are signed in with, the first of: nothing, where that is asked for; the key in the URL; the
 * variables that `az storage` reads, where they are for this account (connection string, key, SAS); an identity of Microsoft Entra ID
 * that variables name; a key or a SAS given to Pannier; whatever identity DefaultAzureCredential finds by looking around, which takes
 * seconds where there is none.
 */
import { type Credentials, type Location, readToken, UsageError } from "@pannier/core/adapter";
import type { Environment, HttpClient } from "@pannier/http-client";
import { isExposed, optionalEndpoint, parseEndpoint } from "@pannier/object-store";
import { entraSignIn, namedIdentity } from "./entra.ts";
import { ANONYMOUS, byKey, bySas, type SignIn } from "./sign-in.ts";

export interface ConnectionInit {
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

export interface Connection {
  readonly signIn: SignIn;
  /** Of the blob service: `https://ACCOUNT.blob.core.windows.net` unless something says otherwise. */
  readonly endpoint: URL;
}

/** @throws UsageError where what is given cannot be used, without showing it */
export async function connect(init: ConnectionInit): Promise<Connection> {
  const { account, env } = init;
  const text = init.anonymous ? undefined : env[VARIABLE];
  const all = text ? await parseConnectionString(text) : undefined;
  const connection = all?.account === account ? all : undefined;
  const endpoint =
    optionalEndpoint(init.endpoint, 'option "endpoint"') ??
    connection?.endpoint ??
    new URL(`https://${account}.blob.core.windows.net`);
  return { signIn: choose(init, endpoint, connection), endpoint };
}

function choose(
  init: ConnectionInit,
  endpoint: URL,
  connection: ConnectionString | undefined,
): SignIn {
  const { account, anonymous, location, credentials, env } = init;
  if (anonymous) return ANONYMOUS;
  if (location.password !== undefined)
    return byKey(account, location.password, "the key in the URL");

  if (connection?.key !== undefined)
    return byKey(account, connection.key, `the key in ${VARIABLE}`);
  if (connection?.sas !== undefined) return bySas(connection.sas, `the SAS in ${VARIABLE}`);
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
  if (isExposed(endpoint)) {
    throw new UsageError(
      "a token would be sent over plain http to the endpoint",
      "use https, or sign in with an account key",
    );
  }
  return entraSignIn(init);
}

const VARIABLE = "AZURE_STORAGE_CONNECTION_STRING";

interface ConnectionString {
  readonly account: string;
  readonly endpoint: URL;
  readonly key?: string;
  readonly sas?: string;
}

/** By the SDK. What people leave out has its usual value. @throws UsageError, without showing the text */
async function parseConnectionString(text: string): Promise<ConnectionString> {
  const { BlobServiceClient, StorageSharedKeyCredential } = await import("./sdk.ts");
  const whole = `${text};DefaultEndpointsProtocol=https;EndpointSuffix=core.windows.net`;
  try {
    const { url, accountName, credential } = BlobServiceClient.fromConnectionString(whole);
    const { origin, pathname, search } = new URL(url);
    const at = {
      account: accountName,
      endpoint: parseEndpoint(origin + pathname, `a part of ${VARIABLE}`),
    };
    if (!(credential instanceof StorageSharedKeyCredential)) return { ...at, sas: search };
    // It has no name for us in the types.
    const { accountKey } = credential as unknown as { readonly accountKey: Buffer };
    return { ...at, key: accountKey.toString("base64") };
  } catch {
    // Its own words may quote what is secret.
    throw new UsageError(
      `${VARIABLE} is not a connection string`,
      "it holds AccountKey, or SharedAccessSignature and BlobEndpoint: az storage account show-connection-string",
    );
  }
}
