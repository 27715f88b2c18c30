/**
 * Google's chain of credentials, that of application default credentials. Its files are what `GOOGLE_APPLICATION_CREDENTIALS` names, and
 * what gcloud left in its directory: a key, a user's consent, a workload identity federation or an impersonation.
 */
import { existsSync } from "node:fs";
import { join } from "node:path";
import { readCredentialFile, UsageError } from "@pannier/core/adapter";
import type { Environment, HttpClient } from "@pannier/http-client";
import { googleTransport } from "@pannier/object-store";
import type { AuthClient } from "google-auth-library";

/** What a token is good for: https://cloud.google.com/storage/docs/oauth-scopes */
export type Access = "read_only" | "read_write";

/** Milliseconds for which what tells no end is used; what signs itself is good for an hour. */
const UNKNOWN_LIFE = 300_000;

/** Where the chain finds a file: https://cloud.google.com/docs/authentication/application-default-credentials */
export function credentialsFile(env: Environment): { path: string; from: string } | undefined {
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
export async function kindOf(path: string): Promise<string> {
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

/** What signs requests in, by Google's chain. */
export async function signInByGoogle(
  project: string | undefined,
  env: Environment,
  http: HttpClient,
  access: Access,
) {
  const file = credentialsFile(env);
  // The library's own message would quote the file.
  if (file !== undefined) await kindOf(file.path);
  const { GoogleAuth } = await import("./sdk.ts");
  const transport = googleTransport(http);
  const auth = new GoogleAuth({
    // By itself the SDK asks for full control.
    scopes: `https://www.googleapis.com/auth/devstorage.${access}`,
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
  // Workforce federation keeps its token elsewhere.
  const { cachedAccessToken: kept } = client as unknown as {
    readonly cachedAccessToken?: { readonly expiry_date?: number } | null;
  };
  const ends = client.credentials.expiry_date ?? kept?.expiry_date ?? Date.now() + UNKNOWN_LIFE;
  return { auth, headers, ends, universe: client.universeDomain };
}
