/** AWS's SDK, as far as it is used: what it knows of environments, profiles, roles and endpoints. */
import type { HttpClient } from "@pannier/http-client";
import { askForKeys } from "@pannier/object-store";
import type { Keys } from "./sign.ts";

export interface Identity extends Keys {
  readonly expiration?: Date;
  readonly $source?: Readonly<Record<string, string>>;
}

/** What of the SDK's resolved configuration is used; its types are not made for this. */
export interface SdkConfig {
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
export const ANY_REGION = "us-east-1";
export async function loadSdk(init: {
  readonly profile: string | undefined;
  readonly region: string | undefined;
  readonly http: HttpClient;
  readonly onWords: (words: string) => void;
}): Promise<SdkConfig> {
  const { profile, onWords } = init;
  const requestHandler = sendBy(init.http);
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
 * How the SDK asks STS to assume roles. Of single sign-on, containers and instances it asks by itself.
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
      const answer = await askForKeys(http, url, {
        method: method as "GET" | "POST",
        headers,
        body: body as string | Uint8Array | undefined,
        signal: abortSignal as AbortSignal | undefined,
      });
      const { status: statusCode, headers: found, body: text } = answer;
      return { response: { statusCode, headers: found, body: text } };
    },
  };
}
