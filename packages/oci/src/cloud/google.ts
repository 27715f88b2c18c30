/** Artifact Registry and Container Registry: https://cloud.google.com/artifact-registry/docs/docker/authentication#token */
import { googleTransport } from "@pannier/object-store";
import { type AuthClient, GoogleAuth } from "google-auth-library";
import type { AskCloud } from "./cloud.ts";
import { signInError } from "./errors.ts";

/** The registry knows no narrower one. */
const SCOPE = "https://www.googleapis.com/auth/cloud-platform";
/** Milliseconds for which what tells no end is used, and before its end from which on a token is not. */
const UNKNOWN_LIFE = 300_000;
const EARLY = 60_000;

export const askGoogle: AskCloud = async ({ http }) => {
  const transport = googleTransport(http);
  try {
    const auth = new GoogleAuth({
      scopes: SCOPE,
      // Without one the library looks for it: it starts gcloud, and asks the metadata server.
      projectId: "none",
      clientOptions: { transporterOptions: transport },
    });
    const client: AuthClient = await auth.getClient();
    // Not every kind of client hands these options on to those that it makes for itself.
    const { sourceClient, stsCredential } = client as unknown as Partial<
      Record<string, AuthClient>
    >;
    for (const one of [client, sourceClient, stsCredential]) {
      if (one !== undefined) Object.assign(one.transporter.defaults, transport);
    }
    const { token } = await client.getAccessToken();
    if (token === null || token === undefined) return undefined;
    const until = (client.credentials.expiry_date ?? Date.now() + UNKNOWN_LIFE) - EARLY;
    const login = { username: "oauth2accesstoken", password: token, identityToken: undefined };
    return { ...login, from: "Google's SDK", until };
  } catch (error) {
    if ((error as Error).message.startsWith("Could not load the default credentials")) {
      return undefined;
    }
    throw signInError(
      "Google",
      error,
      "check GOOGLE_APPLICATION_CREDENTIALS, or the workload identity of the pod",
    );
  }
};
