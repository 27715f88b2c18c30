/**
 * The bucket as Google's SDK opens it: credentials, universes, addresses. What it sends goes over our connections, so that proxy,
 * authorities and timeouts are those of every other request; it tries nothing again. Its chain of credentials is that of application
 * default credentials; where that finds nothing, `PANNIER_TOKEN_FILE` is read.
 */
import { callbackify } from "node:util";
import type { Bucket } from "@google-cloud/storage";
import { type Credentials, readToken, SourceError } from "@pannier/core/adapter";
import { type Environment, type HttpClient, readBytes } from "@pannier/http-client";
import { type Renewed, renewed } from "@pannier/object-store";
import type { AuthClient, GoogleAuth } from "google-auth-library";
import { credentialsFile, kindOf } from "./sign-in.ts";
import { isNothingFound, signInError } from "./errors.ts";
import type { GcsSettings } from "./options.ts";

const SCOPE = "https://www.googleapis.com/auth/devstorage.read_only";
/** Milliseconds for which what tells no end is used; what signs itself is good for an hour. */
const UNKNOWN_LIFE = 300_000;
const MAX_ANSWER = 1 << 20;

type Headers = Readonly<Record<string, string>>;

/** Renewed before its token ends; every file is read anew then. */
export interface Opened {
  readonly bucket: Bucket;
  /** URL of the bucket's objects in the JSON API, without a slash at its end. */
  readonly objects: string;
  /** What signs a request in. */
  readonly headers: Headers;
}

export interface Connection extends Renewed<Opened> {
  /** Where the API is, for messages. */
  host(signal: AbortSignal): Promise<string>;
  /** Signs in, and says where the credentials for that were found. */
  identity(signal: AbortSignal): Promise<string>;
}

export interface ConnectionInit {
  readonly settings: GcsSettings;
  readonly credentials: Credentials;
  readonly env: Environment;
  readonly http: HttpClient;
}

export function connect(init: ConnectionInit): Connection {
  const { settings, credentials, env } = init;
  const { anonymous } = settings;
  let chainIsEmpty = false;
  /** Opened without Google's credentials. */
  let bare: Promise<Omit<Opened, "headers">> | undefined;

  const opened = renewed(async () => {
    if (anonymous) return { signature: { ...(await openBare()), headers: {} }, ends: Infinity };
    if (!chainIsEmpty) {
      try {
        return await openByGoogle(init);
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
    const token = await readToken(credentials.tokenFile, "token file");
    const headers = { authorization: `Bearer ${token}` };
    return { signature: { ...(await openBare()), headers }, ends: 0 };
  });

  async function openBare() {
    const { GoogleAuth } = await import("./sdk.ts");
    return (bare ??= openStorage(settings, new GoogleAuth({ projectId: "none" }), undefined));
  }

  return {
    ...opened,
    host: async (signal) => new URL((await opened.current(signal)).objects).host,
    async identity(signal) {
      await opened.current(signal);
      if (anonymous) return "nothing: anonymous";
      if (chainIsEmpty) return "a token from credentials.tokenFile";
      const file = credentialsFile(env);
      if (file === undefined) return "the metadata server's service account";
      return `${await kindOf(file.path)}, from ${file.from}`;
    },
  };
}

async function openByGoogle({ settings, env, http }: ConnectionInit) {
  const file = credentialsFile(env);
  // The library's own message would quote the file.
  if (file !== undefined) await kindOf(file.path);
  const { GoogleAuth } = await import("./sdk.ts");
  const transport = {
    fetchImplementation: fetchBy(http),
    // Proxies are our business, and trying again is the engine's.
    noProxy: [/./],
    retryConfig: { retry: 0, noResponseRetries: 0 },
  };
  const auth = new GoogleAuth({
    // The SDK would ask for write access.
    scopes: SCOPE,
    // Without one the library looks for it: it starts gcloud, and asks the metadata server.
    projectId: settings.project ?? "none",
    clientOptions: { transporterOptions: transport },
  });
  const client: AuthClient = await auth.getClient();
  // Not every kind of client hands these options on to those that it makes for itself.
  const { sourceClient, stsCredential } = client as unknown as Partial<Record<string, AuthClient>>;
  for (const one of [client, sourceClient, stsCredential]) {
    if (one !== undefined) Object.assign(one.transporter.defaults, transport);
  }
  const headers = Object.fromEntries((await client.getRequestHeaders()).entries());
  // Workforce federation keeps its token elsewhere.
  const { cachedAccessToken: kept } = client as unknown as {
    readonly cachedAccessToken?: { readonly expiry_date?: number } | null;
  };
  const ends = client.credentials.expiry_date ?? kept?.expiry_date ?? Date.now() + UNKNOWN_LIFE;
  const storage = await openStorage(settings, auth, client.universeDomain);
  return { signature: { ...storage, headers }, ends };
}

/** How the SDK is told to send a question: an option of the request, beside its own. */
interface Question {
  readonly uri: string;
  readonly qs?: Readonly<Record<string, string>>;
  readonly send: (url: string, query: Readonly<Record<string, string>>) => Promise<unknown>;
}

/** @param universe where the credentials are for another cloud than the public one */
async function openStorage(
  { bucket, endpoint, project, userProject }: GcsSettings,
  authClient: GoogleAuth,
  universe: string | undefined,
) {
  const { Storage } = await import("./sdk.ts");
  const storage = new Storage({
    authClient,
    projectId: project ?? "none",
    retryOptions: { autoRetry: false, maxRetries: 0 },
    ...(universe === undefined ? {} : { universeDomain: universe }),
    ...(endpoint === undefined ? {} : { apiEndpoint: endpoint.href.replace(/\/$/, "") }),
  });
  // It takes STORAGE_EMULATOR_HOST for this as it is, and before any endpoint.
  storage.baseUrl = `${storage.apiEndpoint}/storage/v1`;
  storage.makeAuthenticatedRequest = ((
    { uri, qs = {}, send }: Question,
    done: (error: unknown, answer?: unknown) => void,
  ) => callbackify(send)(uri, qs, done)) as unknown as typeof storage.makeAuthenticatedRequest;
  return {
    bucket: storage.bucket(bucket, userProject === undefined ? {} : { userProject }),
    objects: `${storage.baseUrl}/b/${bucket}/o`,
  };
}

/** An object's metadata, asked for by the SDK. @param send sends its request */
export async function metadataOf(
  bucket: Bucket,
  key: string,
  fields: string,
  send: Question["send"],
): Promise<unknown> {
  const file = bucket.file(key);
  file.interceptors.push({ request: (options) => Object.assign(options, { send }) as never });
  const [metadata] = await file.getMetadata({ fields });
  return metadata;
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
