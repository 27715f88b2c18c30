/** AWS's SDK, as far as it is used: what it knows of environments, profiles, roles and endpoints. */
import type { S3Client } from "@aws-sdk/client-s3";
import type { HttpClient } from "@pannier/http-client";
import { awsHandler } from "@pannier/object-store";
import type { Keys } from "./sign.ts";

/** The keys that the SDK finds. */
export interface Identity extends Keys {
  readonly expiration?: Date;
  /** Which of its providers gave them. */
  readonly $source?: Readonly<Record<string, unknown>>;
}

/** What the SDK resolved for a client of its own. */
export type SdkConfig = S3Client["config"];

/** AWS asks for one, most others take any. */
export const ANY_REGION = "us-east-1";

export async function loadSdk(init: {
  readonly profile: string | undefined;
  readonly region: string | undefined;
  readonly http: HttpClient;
  readonly onWords: (words: string) => void;
}): Promise<SdkConfig> {
  const { profile, onWords } = init;
  // For STS, which assumes roles. Of single sign-on, containers and instances it asks by itself.
  const requestHandler = awsHandler(init.http);
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
    return new S3Client(options).config;
  };
  const config = make(init.region);
  const known = await config.region().catch(() => undefined);
  // A role is assumed somewhere, too, and the bucket's region becomes known only later.
  return known === undefined ? make(ANY_REGION) : config;
}
