/** Where requests go, and how they are signed: the bucket as AWS's SDK opens it. */
import { type Credentials, type Location, UsageError } from "@pannier/core/adapter";
import type { HttpClient } from "@pannier/http-client";
import { parseEndpoint, type Renewed } from "@pannier/object-store";
import { ENDPOINT, isArn, type S3Settings } from "./options.ts";
import { ANY_REGION, loadSdk, type SdkConfig } from "./sdk.ts";
import { type Found, makeSignIn } from "./sign-in.ts";
import type { Scope } from "./sign.ts";

/** Where a bucket is. */
export interface Place extends Scope {
  /** Of the bucket, ends with a slash. */
  readonly base: string;
}

export interface Connection {
  readonly signIn: Renewed<Found>;
  /** @param region that of an answer which said that ours is wrong */
  place(region?: string): Promise<Place>;
}

/** @param given user and password of the URL: access key and secret */
export function connect(
  settings: S3Settings,
  given: Pick<Location, "username" | "password">,
  credentials: Credentials,
  http: HttpClient,
): Connection {
  const { bucket, profile, region: own } = settings;
  const said: string[] = [];
  let sdk: Promise<SdkConfig> | undefined;
  const onWords = (words: string) => said.push(words);
  const load = () => (sdk ??= loadSdk({ profile, region: own, http, onWords }));

  return {
    signIn: makeSignIn({ settings, given, credentials, load, said }),
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
  };
}

async function configuredEndpoint(config: SdkConfig): Promise<URL | undefined> {
  const { AWS_ENDPOINT_URL_S3, AWS_ENDPOINT_URL } = process.env;
  const text =
    AWS_ENDPOINT_URL_S3 || AWS_ENDPOINT_URL || (await config.serviceConfiguredEndpoint?.());
  return typeof text === "string" && text !== "" ? parseEndpoint(text, ENDPOINT) : undefined;
}
