/**
 * The bucket as Google's SDK opens it: credentials, universes, addresses. What it sends goes over our connections, so that proxy,
 * authorities and timeouts are those of every other request; it tries nothing again. Its chain of credentials is that of application
 * default credentials; where that finds nothing, `PANNIER_TOKEN_FILE` is read.
 */
import { callbackify } from "node:util";
import type { Bucket } from "@google-cloud/storage";
import { type Credentials, readToken, SourceError } from "@pannier/core/adapter";
import type { Environment, HttpClient } from "@pannier/http-client";
import { type Renewed, renewed } from "@pannier/object-store";
import type { GoogleAuth } from "google-auth-library";

import { isNothingFound, signInError } from "./errors.ts";
import type { GcsSettings } from "./options.ts";
import { type Access, credentialsFile, kindOf, signInByGoogle } from "./sign-in.ts";

type Headers = Readonly<Record<string, string>>;

/** Renewed before its token ends; every file is read again then. */
export interface Opened {
  readonly bucket: Bucket;
  /** URL of the bucket's objects in the JSON API, without a slash at its end. */
  readonly objects: string;
  /** Where objects are uploaded to. */
  readonly uploads: string;
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
  readonly access: Access;
}

/** Nothing is asked, and nobody signed in, before it is used. */
export function connect(init: ConnectionInit): Connection {
  const { settings, credentials, env, http, access } = init;
  const { anonymous } = settings;
  let chainIsEmpty = false;
  /** Opened without Google's credentials. */
  let bare: Promise<Omit<Opened, "headers">> | undefined;

  const opened = renewed(async () => {
    if (anonymous) return { signature: { ...(await openBare()), headers: {} }, ends: Infinity };
    if (!chainIsEmpty) {
      try {
        const found = await signInByGoogle(settings.project, env, http, access);
        const { auth, headers, ends, universe } = found;
        const storage = await openStorage(settings, auth, universe);
        return { signature: { ...storage, headers }, ends };
      } catch (error) {
        if (!isNothingFound(error)) throw signInError(error, access);
        chainIsEmpty = true;
      }
    }
    if (credentials.tokenFile === undefined) {
      throw new SourceError("auth", "no credentials of Google were found", {
        hint: "set GOOGLE_APPLICATION_CREDENTIALS or credentials.tokenFile, or anonymous=true for a public bucket",
      });
    }
    // Whoever writes the file renews it: it is read each time it is needed.
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

/** How the SDK is told to send a question: an option of the request, beside its own. */
export interface Question {
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
    uploads: `${storage.apiEndpoint}/upload/storage/v1/b/${bucket}/o`,
  };
}
