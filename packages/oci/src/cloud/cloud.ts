/** Signing in to the registries of clouds, by what their own SDKs find: for hosts that are known to be theirs, over TLS only. */
import type { HttpClient } from "@pannier/http-client";
import type { Login } from "../docker-config.ts";

/** A login that lasts for a while. */
export interface CloudLogin extends Login {
  /** Milliseconds since the epoch. */
  readonly until: number;
}

export interface CloudInit {
  /** Name and port of the registry. */
  readonly host: string;
  readonly registry: URL;
  readonly http: HttpClient;
}

/**
 * @returns `undefined` where the SDK finds nothing to sign in with
 * @throws SourceError where it finds something that does not work
 */
export type AskCloud = (init: CloudInit) => Promise<CloudLogin | undefined>;

const CLOUDS: readonly (readonly [host: RegExp, load: () => Promise<AskCloud>])[] = [
  [
    /^\d{12}\.dkr[.-]ecr(?:-fips)?\.[a-z0-9-]+\.(?:amazonaws\.com(?:\.cn)?|on\.(?:aws|amazonwebservices\.com\.cn))$/,
    async () => (await import("./aws.ts")).askAws,
  ],
  [/(?:^|\.)gcr\.io$|-docker\.pkg\.dev$/, async () => (await import("./google.ts")).askGoogle],
  [/^[a-z0-9-]+\.azurecr\.(?:io|cn|us)$/, async () => (await import("./azure.ts")).askAzure],
];

/** Milliseconds for which nothing is looked for again where nothing was found: looking for a machine's identity takes seconds. */
const NOTHING_FOR = 300_000;

/** Makes the function that finds a login; what it found is kept while it lasts. */
export function makeCloudLogin(init: CloudInit): () => Promise<CloudLogin | undefined> {
  const { host, registry } = init;
  const load =
    registry.protocol === "https:" ? CLOUDS.find(([hosts]) => hosts.test(host))?.[1] : undefined;
  let kept: { readonly login: CloudLogin | undefined; readonly until: number } | undefined;
  let asking: Promise<CloudLogin | undefined> | undefined;

  async function ask(make: () => Promise<AskCloud>): Promise<CloudLogin | undefined> {
    const login = await (await make())(init);
    kept = { login, until: login?.until ?? Date.now() + NOTHING_FOR };
    return login;
  }

  return async () => {
    if (load === undefined) return undefined;
    if (kept !== undefined && Date.now() < kept.until) return kept.login;
    return (asking ??= ask(load).finally(() => (asking = undefined)));
  };
}
