/**
 * Files of Google's chain: what `GOOGLE_APPLICATION_CREDENTIALS` names, and what gcloud left in its directory. They may hold a key, a
 * user's consent, a workload identity federation or an impersonation.
 */
import { existsSync } from "node:fs";
import { join } from "node:path";
import { readCredentialFile, UsageError } from "@pannier/core/adapter";
import type { Environment } from "@pannier/http-client";

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
