/**
 * Tokens of Microsoft Entra ID by `@azure/identity`: client secret or certificate, workload identity, managed identity,
 * and what a developer signed in to. Its requests go over our client, so that proxy, authorities and timeouts are
 * those of every other request; it retries nothing.
 */
import type { TokenCredential } from "@azure/identity";
import { SourceError } from "@pannier/core/adapter";
import type { Environment, HttpClient } from "@pannier/http-client";
import { askingAzure, azureClient, renewed } from "@pannier/object-store";
import { tokenError } from "./errors.ts";
import type { Signature, SignIn } from "./sign-in.ts";

/** For every cloud: https://learn.microsoft.com/azure/storage/blobs/authorize-access-azure-active-directory#microsoft-authentication-library-msal */
const SCOPE = "https://storage.azure.com/.default";

/** Authorities that the library knows; of others it would ask the public cloud whether they are one. */
const PUBLIC_AUTHORITIES =
  /^https:\/\/login\.(microsoftonline\.(com|us)|chinacloudapi\.cn|windows\.net)(\/|$)/;

export function entraSignIn({ env, http }: { env: Environment; http: HttpClient }): SignIn {
  let credential: Promise<TokenCredential> | undefined;
  /** Why the last request failed: the library keeps of it at most some words. */
  let trouble: Error | undefined;

  const tokens = renewed<Signature>(async () => {
    trouble = undefined;
    try {
      credential ??= makeCredential(env);
      const signedIn = await credential;
      const onTrouble = (error: Error) => (trouble = error);
      const found = await askingAzure({ http, onTrouble }, () => signedIn.getToken(SCOPE));
      if (found === null) throw new SourceError("auth", "Microsoft Entra ID gave no token");
      const signature = { headers: { authorization: `Bearer ${found.token}` } };
      return { signature, ends: found.expiresOnTimestamp };
    } catch (error) {
      // Made again next time: the library also remembers what it did not find.
      credential = undefined;
      throw trouble ?? tokenError(error, namedIdentity(env));
    }
  });

  return {
    source:
      namedIdentity(env) ??
      "Microsoft Entra ID: the machine's managed identity, or what a developer signed in to",
    sign: (_request, signal) => tokens.current(signal),
    signReads: (_place, signal) => tokens.current(signal),
    accepted: tokens.accepted,
    async refused(signature, signal) {
      // A library that is asked again would answer from its memory.
      credential = undefined;
      return tokens.refused(signature, signal);
    },
  };
}

async function makeCredential(env: Environment): Promise<TokenCredential> {
  const { DefaultAzureCredential } = await import("@azure/identity");
  const { createHttpHeaders } = await import("@azure/core-rest-pipeline");
  const authority = env["AZURE_AUTHORITY_HOST"];
  return new DefaultAzureCredential({
    httpClient: azureClient(createHttpHeaders),
    retryOptions: { maxRetries: 0 },
    disableInstanceDiscovery: Boolean(authority) && !PUBLIC_AUTHORITIES.test(authority ?? ""),
  });
}

/** What the library will find first, by the variables that it reads; `undefined`: it has to look around. */
export function namedIdentity(env: Environment): string | undefined {
  const has = (...names: string[]) => names.every((name) => Boolean(env[name]));
  const chosen = env["AZURE_TOKEN_CREDENTIALS"];
  if (chosen) return `Microsoft Entra ID: ${chosen} (AZURE_TOKEN_CREDENTIALS)`;
  if (has("AZURE_TENANT_ID", "AZURE_CLIENT_ID")) {
    if (has("AZURE_CLIENT_SECRET")) {
      return "Microsoft Entra ID: client secret (AZURE_CLIENT_SECRET)";
    }
    if (has("AZURE_CLIENT_CERTIFICATE_PATH")) {
      return "Microsoft Entra ID: client certificate (AZURE_CLIENT_CERTIFICATE_PATH)";
    }
    if (has("AZURE_FEDERATED_TOKEN_FILE")) {
      return "Microsoft Entra ID: workload identity (AZURE_FEDERATED_TOKEN_FILE)";
    }
  }
  if (has("IDENTITY_ENDPOINT")) return "Microsoft Entra ID: managed identity (IDENTITY_ENDPOINT)";
  return undefined;
}
