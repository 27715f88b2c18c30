/** Where requests go and how they are signed: what the SDK knows of environments, profiles, roles and endpoints. */
import { type Credentials, readToken, UsageError } from "@pannier/core/adapter";
import { type HttpClient, readBytes } from "@pannier/http-client";
import { parseEndpoint } from "@pannier/object-store";
import { isNothingFound, noCredentials, signInError } from "./errors.ts";
import { ENDPOINT, isArn, type S3Settings } from "./options.ts";
import type { Keys, Scope } from "./sign.ts";

/** Where a bucket is. */
export interface Place extends Scope {
  /** Of the bucket, ends with a slash. */
  readonly base: string;
}

export interface Connection {
  /** @param region that of an answer which said that ours is wrong */
  place(region?: string): Promise<Place>;
  /** `undefined` where nothing is signed. Renewed before they expire; the same object until then. */
  keys(): Promise<Keys | undefined>;
  /** The server refused these keys. @returns whether there are others now */
  renew(refused: Keys): Promise<boolean>;
  /** What the keys are from, for people. */
  identity(): Promise<string>;
}

interface Identity extends Keys {
  readonly expiration?: Date;
  readonly $source?: Readonly<Record<string, string>>;
}

interface Found {
  readonly keys: Identity | undefined;
  readonly from: string;
  /** Milliseconds since the epoch, when they are to be asked for again. */
  readonly until: number;
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
/** Milliseconds before keys expire, from which on the SDK looks for others. */
const RENEW_BEFORE_EXPIRY_MS = 300_000;
/** Milliseconds between its looks: what gives keys may give the same ones until their end, and each look may start a process. */
const RENEW_PAUSE_MS = 10_000;

/** Bytes of an answer with keys. */
const MAX_ANSWER = 1 << 20;

/** @param given user and password of the URL: access key and secret */
export function connect(
  settings: S3Settings,
  given: { readonly username: string | undefined; readonly password: string | undefined },
  credentials: Credentials,
  http: HttpClient,
): Connection {
  const { bucket, profile, anonymous } = settings;
  /** What the links of the SDK's chain said; the chain itself only tells that none gave keys. */
  const said: string[] = [];
  let sdk: Promise<SdkConfig> | undefined;
  let last: Found | undefined;
  let chainIsEmpty = false;
  const load = () =>
    (sdk ??= loadSdk({
      profile,
      region: settings.region,
      requestHandler: sendBy(http),
      onWords: (words) => said.push(words),
    }));

  async function find(forceRefresh = false): Promise<Found> {
    if (anonymous) return { keys: undefined, from: "nothing: anonymous=true", until: Infinity };
    const { username, password } = given;
    if (username !== undefined && password !== undefined) {
      const keys = { accessKeyId: username, secretAccessKey: password };
      return { keys, from: "the key in the URL", until: Infinity };
    }
    // Asked each time, an empty chain would look for an instance's metadata each time.
    if (!chainIsEmpty) {
      const config = await load();
      said.length = 0;
      try {
        const keys = await config.credentials(forceRefresh ? { forceRefresh } : {});
        return { keys, from: sourceOf(keys, profile), until: renewalOf(keys) };
      } catch (error) {
        if (!isNothingFound(error) || credentials.username === undefined) {
          throw signInError(error, said);
        }
        chainIsEmpty = true;
      }
    }
    return findOwn(credentials);
  }

  async function current(): Promise<Found> {
    if (last !== undefined && Date.now() < last.until) return last;
    const found = await find();
    // The SDK keeps what it found, and so do those that ask whether keys were good before.
    const same = last !== undefined && sameKeys(last.keys, found.keys);
    return (last = same ? { ...found, keys: last?.keys } : found);
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
          // An access point is always in the host.
          ForcePathStyle: settings.pathStyle ?? (configured !== undefined && !isArn(bucket)),
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
    keys: async () => (await current()).keys,
    async renew(refused) {
      // Another request may have been told before.
      if (!sameKeys((await current()).keys, refused)) return true;
      const found = await find(true);
      if (sameKeys(found.keys, refused)) return false;
      last = found;
      return true;
    },
    identity: async () => (await current()).from,
  };
}

async function loadSdk(init: {
  readonly profile: string | undefined;
  readonly region: string | undefined;
  readonly requestHandler: ReturnType<typeof sendBy>;
  readonly onWords: (words: string) => void;
}): Promise<SdkConfig> {
  const { profile, requestHandler, onWords } = init;
  const { S3Client } = await import("@aws-sdk/client-s3");
  const debug = (...words: readonly unknown[]) =>
    onWords(words.filter((word) => typeof word === "string").join(" "));
  const make = (own: string | undefined) => {
    const options = {
      ...(profile === undefined ? {} : { profile }),
      ...(own === undefined ? {} : { region: own }),
      requestHandler,
      // Without one it writes warnings on standard error.
      logger: { debug, info() {}, warn() {}, error() {} },
      // A file with keys may have been replaced since it was read. The types do not know this one.
      ignoreCache: true,
    };
    return new S3Client(options).config as unknown as SdkConfig;
  };
  const config = make(init.region);
  const known = await config.region().catch(() => undefined);
  // A role is assumed somewhere, too, and the bucket's region becomes known only later.
  return known === undefined ? make(ANY_REGION) : config;
}

/**
 * How the SDK asks STS to assume roles: over our connections, so that proxy, authorities and timeouts are those of every
 * other request. Of single sign-on, containers and instances it asks by itself.
 */
function sendBy(http: HttpClient) {
  return {
    async handle(
      request: {
        readonly protocol: string;
        readonly hostname: string;
        readonly port?: number;
        readonly path: string;
        readonly method: string;
        readonly headers: Readonly<Record<string, string>>;
        readonly body?: unknown;
      },
      { abortSignal }: { readonly abortSignal?: unknown } = {},
    ) {
      const { protocol, hostname, port, path, method, body } = request;
      // The host belongs to the URL, the length to the body.
      const { host: _host, "content-length": _length, ...headers } = request.headers;
      const url = `${protocol}//${hostname}${port === undefined ? "" : `:${port}`}${path}`;
      const response = await http.request(url, {
        method: method as "GET" | "POST",
        headers,
        body: body as string | Uint8Array | undefined,
        // Keys go where they were asked for, and nowhere else.
        redirect: "manual",
        expect: "any",
        operation: "sign-in",
        subject: "signing in",
        signal: abortSignal as AbortSignal | undefined,
      });
      return {
        response: {
          statusCode: response.status,
          headers: response.headers as Record<string, string>,
          body: await readBytes(response.body, MAX_ANSWER),
        },
      };
    },
  };
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

async function configuredEndpoint(config: SdkConfig): Promise<URL | undefined> {
  const { AWS_ENDPOINT_URL_S3, AWS_ENDPOINT_URL } = process.env;
  const text =
    AWS_ENDPOINT_URL_S3 || AWS_ENDPOINT_URL || (await config.serviceConfiguredEndpoint?.());
  return typeof text === "string" && text !== "" ? parseEndpoint(text, ENDPOINT) : undefined;
}

/** What was given to Pannier. The file is read anew each time. */
async function findOwn({ username = "", password, passwordFile }: Credentials): Promise<Found> {
  const found = (secretAccessKey: string, until: number) => {
    const from = "credentials.username and its password";
    return { keys: { accessKeyId: username, secretAccessKey }, from, until };
  };
  if (password !== undefined) return found(password, Infinity);
  if (passwordFile === undefined) throw noCredentials();
  return found(await readToken(passwordFile, "password file"), 0);
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
