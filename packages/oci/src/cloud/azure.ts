/**
 * Container Registry of Azure: a token of Microsoft Entra ID is exchanged for one of the registry's own.
 * https://github.com/Azure/acr/blob/main/docs/AAD-OAuth.md
 */
import { createHttpHeaders } from "@azure/core-rest-pipeline";
import { DefaultAzureCredential } from "@azure/identity";
import { SourceError } from "@pannier/core/adapter";
import { readJson, statusError } from "@pannier/http-client";
import { askingAzure, azureClient, SIGNING_IN } from "@pannier/object-store";
import type { AskCloud } from "./cloud.ts";
import { signInError } from "./errors.ts";

const SCOPE = "https://containerregistry.azure.net/.default";
const ANSWER = { size: 1 << 20, values: 100 };
/** Milliseconds for which the registry's token is used; it lasts for three hours. */
const LIFE = 3_600_000;

export const askAzure: AskCloud = async (init) => {
  const { registry, http } = init;
  const found = await entraToken(init);
  if (found === undefined) return undefined;
  const subject = `${SIGNING_IN}: the registry`;
  const response = await http.request(new URL("/oauth2/exchange", registry), {
    method: "POST",
    headers: { "content-type": "application/x-www-form-urlencoded" },
    body: new URLSearchParams({
      grant_type: "access_token",
      service: registry.host,
      access_token: found,
    }).toString(),
    redirect: "manual",
    expect: "any",
    operation: "sign in",
    subject,
  });
  if (response.status !== 200) {
    await response.discard();
    const { status, headers } = response;
    throw statusError(status === 400 ? 401 : status, headers, `${subject}: `, true);
  }
  const json = await readJson(response.body, ANSWER, notToken);
  const { refresh_token: identityToken } = (json ?? {}) as { readonly refresh_token?: unknown };
  if (typeof identityToken !== "string" || identityToken === "") throw notToken();
  return {
    username: "",
    password: "",
    identityToken,
    from: "Azure's SDK",
    until: Date.now() + LIFE,
  };
};

function notToken(): SourceError {
  return new SourceError("invalid", "the registry gave no token");
}

async function entraToken({ http }: Parameters<AskCloud>[0]): Promise<string | undefined> {
  let trouble: Error | undefined;
  try {
    const credential = new DefaultAzureCredential({
      httpClient: azureClient(createHttpHeaders),
      retryOptions: { maxRetries: 0 },
    });
    const onTrouble = (error: Error) => (trouble = error);
    return (await askingAzure({ http, onTrouble }, () => credential.getToken(SCOPE))).token;
  } catch (error) {
    if (trouble !== undefined) throw trouble;
    // None of the ways that it knows is set up here.
    const { errors = [error] } = error as { readonly errors?: readonly Error[] };
    if (errors.every((one) => (one as Error).name === "CredentialUnavailableError"))
      return undefined;
    throw signInError(
      "Azure",
      error,
      "check the workload identity or the variables AZURE_…, and the role AcrPull",
    );
  }
}
