/** What requests are signed with: the key in the URL, what AWS's chain finds, or what was given to Pannier. */
import { type Credentials, type Location, readToken } from "@pannier/core/adapter";
import { type Lease, type Renewed, renewed } from "@pannier/object-store";
import { isNothingFound, noCredentials, signInError } from "./errors.ts";
import type { S3Settings } from "./options.ts";
import type { Identity, SdkConfig } from "./sdk.ts";
import type { Keys } from "./sign.ts";

/** What requests are signed with, and what that is from, for people. */
export interface Found {
  /** `undefined` where nothing is signed. */
  readonly keys: Identity | undefined;
  readonly from: string;
}

/** Milliseconds before keys expire, from which on the SDK looks for others. */
const RENEW_BEFORE_EXPIRY_MS = 300_000;
/** Milliseconds between its looks: what gives keys may give the same ones until their end, and each look may start a process. */
const RENEW_PAUSE_MS = 10_000;

export interface SignInInit {
  readonly settings: Pick<S3Settings, "profile" | "anonymous">;
  /** User and password of the URL: access key and secret. */
  readonly given: Pick<Location, "username" | "password">;
  readonly credentials: Credentials;
  readonly load: () => Promise<SdkConfig>;
  /** What the links of the SDK's chain said; the chain itself only tells that none gave keys. */
  readonly said: string[];
}

export function makeSignIn(init: SignInInit): Renewed<Found> {
  const { given, credentials, load, said } = init;
  const { profile, anonymous } = init.settings;
  let chainIsEmpty = false;

  return renewed(find, (a, b) => sameKeys(a.keys, b.keys));

  async function find(forceRefresh: boolean): Promise<Lease<Found>> {
    if (anonymous) return lease(undefined, "nothing: anonymous=true", Infinity);
    const { username, password } = given;
    if (username !== undefined && password !== undefined) {
      const keys = { accessKeyId: username, secretAccessKey: password };
      return lease(keys, "the key in the URL", Infinity);
    }
    // Asked each time, an empty chain would look for an instance's metadata each time.
    if (!chainIsEmpty) {
      const config = await load();
      said.length = 0;
      try {
        const keys = await config.credentials(forceRefresh ? { forceRefresh } : {});
        return lease(keys, sourceOf(keys, profile), renewalOf(keys));
      } catch (error) {
        if (!isNothingFound(error) || credentials.username === undefined) {
          throw signInError(error, said);
        }
        chainIsEmpty = true;
      }
    }
    return findOwn(credentials);
  }
}

function lease(keys: Identity | undefined, from: string, ends: number): Lease<Found> {
  return { signature: { keys, from }, ends };
}

function sameKeys(a: Keys | undefined, b: Keys | undefined): boolean {
  return (
    a?.accessKeyId === b?.accessKeyId &&
    a?.secretAccessKey === b?.secretAccessKey &&
    a?.sessionToken === b?.sessionToken
  );
}

function renewalOf({ expiration }: Identity): number {
  if (expiration === undefined) return Infinity;
  const end = expiration.getTime();
  return Math.max(end - RENEW_BEFORE_EXPIRY_MS, Math.min(Date.now() + RENEW_PAUSE_MS, end));
}

/** What was given to Pannier. The file is read each time it is needed. */
async function findOwn(given: Credentials): Promise<Lease<Found>> {
  const { username: accessKeyId = "", password, passwordFile } = given;
  const from = "credentials.username and its password";
  if (password !== undefined) {
    return lease({ accessKeyId, secretAccessKey: password }, from, Infinity);
  }
  if (passwordFile === undefined) throw noCredentials();
  const secretAccessKey = await readToken(passwordFile, "password file");
  return lease({ accessKeyId, secretAccessKey }, from, 0);
}

/** The SDK notes with the keys which of its providers gave them; the first of these is nearest to what people configured. */
const SOURCES: readonly (readonly [feature: string, words: string])[] = [
  ["CREDENTIALS_PROFILE_STS_WEB_ID_TOKEN", "a role assumed by a profile's web identity"],
  [
    "CREDENTIALS_STS_ASSUME_ROLE_WEB_ID",
    "a role assumed by web identity (AWS_WEB_IDENTITY_TOKEN_FILE)",
  ],
  ["CREDENTIALS_STS_ASSUME_ROLE", "a role assumed by a profile"],
  ["CREDENTIALS_PROFILE_SSO", "single sign-on by a profile"],
  ["CREDENTIALS_PROFILE_SSO_LEGACY", "single sign-on by a profile"],
  ["CREDENTIALS_PROFILE_LOGIN", "aws login by a profile"],
  ["CREDENTIALS_PROCESS", "a process that a profile names"],
  ["CREDENTIALS_HTTP", "the container's credentials (Pod Identity, ECS)"],
  ["CREDENTIALS_ENV_VARS", "AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY"],
  ["CREDENTIALS_PROFILE", "a profile"],
];

function sourceOf({ $source = {} }: Identity, profile: string | undefined): string {
  // It notes nothing only where it asked the instance.
  if (Object.keys($source).length === 0) return "the instance's metadata";
  const found = SOURCES.find(([feature]) => feature in $source)?.[1] ?? "the SDK's own chain";
  const name = profile ?? process.env["AWS_PROFILE"];
  return found.includes("a profile") && name !== undefined ? `${found} (${name})` : found;
}
