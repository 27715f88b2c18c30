/** Where requests go and how they are signed: what the SDK knows of environments, profiles, roles and endpoints. */
import { readFile } from "node:fs/promises";
import { type Credentials, UsageError } from "@pannier/core";
import { signInError } from "./errors.ts";
import { parseEndpoint, type S3Settings } from "./options.ts";
import type { Keys, Scope } from "./sign.ts";

/** Where a bucket is. */
export interface Place extends Scope {
  /** Of the bucket, ends with a slash. */
  readonly base: string;
}

export interface Connection {
  /** @param region that of an answer which said that ours is wrong */
  place(region?: string): Promise<Place>;
  /** `undefined` where nothing is signed. Renewed before they expire. */
  keys(): Promise<Keys | undefined>;
  /** Gives up the keys that were last used: the server says that they are not good any more. False where there are no others. */
  renew(): boolean;
  /** What the keys are from, for people. */
  identity(): Promise<string>;
}

interface Identity extends Keys {
  readonly $source?: Readonly<Record<string, string>>;
}

/** What of the SDK's resolved configuration is used; its types are not made for this. */
interface SdkConfig {
  region(): Promise<string>;
  credentials(options?: { forceRefresh?: boolean }): Promise<Identity>;
  serviceConfiguredEndpoint?: () => Promise<unknown>;
  useDualstackEndpoint(): Promise<boolean>;
  useFipsEndpoint(): Promise<boolean>;
  endpointProvider(parameters: Readonly<Record<string, unknown>>): {
    readonly url: URL;
    readonly properties?: {
      readonly authSchemes?: readonly {
        readonly name: string;
        readonly signingName?: string;
        readonly signingRegion?: string;
      }[];
    };
  };
}

/** AWS asks for one, most others take any. */
const ANY_REGION = "us-east-1";

/** @param given user and password of the URL: access key and secret */
export function connect(
  settings: S3Settings,
  given: { readonly username: string | undefined; readonly password: string | undefined },
  credentials: Credentials,
): Connection {
  const { bucket, profile, anonymous } = settings;
  let sdk: Promise<SdkConfig> | undefined;
  let renewing = false;
  const load = () => (sdk ??= loadSdk(profile, settings.region));

  async function identity(): Promise<readonly [Identity | undefined, string]> {
    if (anonymous) return [undefined, "nothing: anonymous=true"];
    const { username, password } = given;
    if (username !== undefined && password !== undefined) {
      return [{ accessKeyId: username, secretAccessKey: password }, "the key in the URL"];
    }
    const config = await load();
    try {
      const forceRefresh = renewing;
      renewing = false;
      const found = await config.credentials(forceRefresh ? { forceRefresh } : {});
      return [found, sourceOf(found, profile)];
    } catch (error) {
      const own = await ownKeys(credentials);
      if (own !== undefined) return [own, "PANNIER_USERNAME and its password"];
      throw signInError(error);
    }
  }

  return {
    async place(answered) {
      const config = await load();
      const configured = settings.endpoint ?? (await configuredEndpoint(config));
      const region = answered ?? settings.region ?? (await config.region().catch(() => ANY_REGION));
      // Both ask for the region as well, and fail where none is configured.
      const fips = await config.useFipsEndpoint().catch(() => false);
      const dualStack = await config.useDualstackEndpoint().catch(() => false);
      let resolved: ReturnType<SdkConfig["endpointProvider"]>;
      try {
        resolved = config.endpointProvider({
          Bucket: bucket,
          Region: region,
          Endpoint: configured?.href,
          ForcePathStyle: settings.pathStyle ?? configured !== undefined,
          UseArnRegion: true,
          UseFIPS: fips,
          UseDualStack: dualStack,
        });
      } catch (error) {
        throw new UsageError(
          `the bucket cannot be addressed: ${error instanceof Error ? error.message : "unknown"}`,
        );
      }
      const scheme = resolved.properties?.authSchemes?.[0];
      if (scheme !== undefined && scheme.name !== "sigv4") {
        throw new UsageError(
          `${bucket} wants another kind of signature (${scheme.name})`,
          "multi-region access points and directory buckets are not supported",
        );
      }
      return {
        base: resolved.url.href.replace(/\/?$/, "/"),
        region: scheme?.signingRegion ?? region,
        service: scheme?.signingName ?? "s3",
      };
    },
    keys: async () => (await identity())[0],
    renew() {
      if (anonymous || given.username !== undefined) return false;
      renewing = true;
      return true;
    },
    identity: async () => (await identity())[1],
  };
}

async function loadSdk(
  profile: string | undefined,
  region: string | undefined,
): Promise<SdkConfig> {
  const { S3Client } = await import("@aws-sdk/client-s3");
  const client = new S3Client({
    ...(profile === undefined ? {} : { profile }),
    ...(region === undefined ? {} : { region }),
  });
  return client.config as unknown as SdkConfig;
}

async function configuredEndpoint(config: SdkConfig): Promise<URL | undefined> {
  const { AWS_ENDPOINT_URL_S3, AWS_ENDPOINT_URL } = process.env;
  const text =
    AWS_ENDPOINT_URL_S3 || AWS_ENDPOINT_URL || (await config.serviceConfiguredEndpoint?.());
  return typeof text === "string" && text !== "" ? parseEndpoint(text) : undefined;
}

async function ownKeys(credentials: Credentials): Promise<Keys | undefined> {
  const { username, password, passwordFile } = credentials;
  if (username === undefined) return undefined;
  if (password !== undefined) return { accessKeyId: username, secretAccessKey: password };
  if (passwordFile === undefined) return undefined;
  try {
    const text = await readFile(passwordFile, "utf8");
    return { accessKeyId: username, secretAccessKey: text.trim() };
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    throw new UsageError(`the password file ${passwordFile} cannot be read (${code ?? "unknown"})`);
  }
}

/** The SDK notes with the keys which of its providers gave them; the last one is nearest to the source. */
const SOURCES: readonly (readonly [feature: string, words: string])[] = [
  [
    "CREDENTIALS_STS_ASSUME_ROLE_WEB_ID",
    "a role assumed by web identity (AWS_WEB_IDENTITY_TOKEN_FILE)",
  ],
  ["CREDENTIALS_PROFILE_STS_WEB_ID_TOKEN", "a role assumed by a profile's web identity"],
  ["CREDENTIALS_STS_ASSUME_ROLE", "a role assumed by a profile"],
  ["CREDENTIALS_SSO", "single sign-on"],
  ["CREDENTIALS_PROCESS", "a process that a profile names"],
  ["CREDENTIALS_HTTP", "the container's credentials (Pod Identity, ECS)"],
  ["CREDENTIALS_IMDS", "the instance's metadata"],
  ["CREDENTIALS_ENV_VARS", "AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY"],
  ["CREDENTIALS_PROFILE", "a profile"],
];

function sourceOf({ $source = {} }: Identity, profile: string | undefined): string {
  const found = SOURCES.find(([feature]) => feature in $source)?.[1] ?? "the SDK's own chain";
  const name = profile ?? process.env["AWS_PROFILE"];
  return found.includes("a profile") && name !== undefined ? `${found} (${name})` : found;
}
