/** Ways to sign a request in: by nothing, by the account's key, by a shared access signature. For tokens see entra.ts. */
import { UsageError } from "@pannier/core/adapter";
import { isExposed } from "@pannier/object-store";
import { VERSION } from "./content.ts";

/** A request as it will be sent. */
interface SignableRequest {
  readonly method: "GET" | "HEAD" | "PUT";
  /** Signed as it is encoded here. */
  readonly url: URL;
  /** By lower-case name. */
  readonly headers: Readonly<Record<string, string>>;
}

/** What is added to a request. */
export interface Signature {
  readonly headers?: Readonly<Record<string, string>> | undefined;
  /** To be appended to the query as it is. Secret. */
  readonly query?: string | undefined;
}

/** A container whose blobs are read. */
interface Place {
  readonly container: string;
  readonly url: URL;
}

export interface SignIn {
  /** Where the credentials come from, as `doctor` shows it. */
  readonly source: string;
  /** Files are read each time they are needed. */
  sign(request: SignableRequest, signal: AbortSignal): Promise<Signature>;
  /** The same for all who read blobs of a container in the next minutes; `undefined` where each request needs its own. */
  signReads(place: Place, signal: AbortSignal): Promise<Signature | undefined>;
  /** The server took this signature. */
  accepted(signature: Signature): void;
  /** The server refused this signature. @returns whether another may be accepted: the credentials were renewed meanwhile, or can be */
  refused(signature: Signature, signal: AbortSignal): Promise<boolean>;
}

/** Text, or a file that is read each time it is needed. */
type Secret = string | (() => Promise<string>);

export const ANONYMOUS: SignIn = {
  source: "none: anonymous",
  sign: async () => ({}),
  signReads: async () => ({}),
  accepted() {},
  refused: async () => false,
};

/** Milliseconds in which a batch of a lane ends, with what it asks for again. */
const READS_LAST = 3_600_000;

/**
 * By the SDK: https://learn.microsoft.com/rest/api/storageservices/authorize-with-shared-key, and for many reads
 * https://learn.microsoft.com/rest/api/storageservices/create-service-sas
 */
export function byKey(account: string, key: Secret, source: string): SignIn {
  // The replica that can be read is signed for as the account itself.
  const accountName = account.replace(/-secondary$/, "");
  let loaded: Promise<typeof import("./sdk.ts")> | undefined;
  const loadSdk = () => (loaded ??= import("./sdk.ts"));
  return bySecret({
    secret: key,
    source,
    check: checkKey,
    async sign(current, { method, url, headers }) {
      const sdk = await loadSdk();
      const request = sdk.createPipelineRequest({
        method,
        url: url.href,
        headers: sdk.createHttpHeaders({ ...headers }),
      });
      const accountKey = Buffer.from(current, "base64");
      const policy = sdk.storageSharedKeyCredentialPolicy({ accountName, accountKey });
      await policy.sendRequest(request, async () => ({
        request,
        headers: request.headers,
        status: 0,
      }));
      return { headers: request.headers.toJSON() };
    },
    async signReads(current, { container, url }) {
      // Whoever sees it could read all that time; the signature of a request is of no use to others.
      if (isExposed(url)) return undefined;
      const sdk = await loadSdk();
      const query = sdk.generateBlobSASQueryParameters(
        {
          containerName: container,
          permissions: sdk.ContainerSASPermissions.parse("r"),
          expiresOn: new Date(Date.now() + READS_LAST),
          version: VERSION,
          ...(url.protocol === "https:" ? { protocol: sdk.SASProtocol.Https } : {}),
        },
        new sdk.StorageSharedKeyCredential(accountName, current),
      );
      return { query: query.toString() };
    },
  });
}

export function bySas(sas: Secret, source: string): SignIn {
  return bySecret({ secret: sas, source, check: queryOf, sign: asQuery, signReads: asQuery });
}

const asQuery = async (query: string): Promise<Signature> => ({ query });

function bySecret(init: {
  readonly secret: Secret;
  readonly source: string;
  readonly check: (text: string, source: string) => string;
  readonly sign: (checked: string, request: SignableRequest) => Promise<Signature>;
  readonly signReads: (checked: string, place: Place) => Promise<Signature | undefined>;
}): SignIn {
  const { secret, source, check } = init;
  const fixed = typeof secret === "string" ? check(secret, source) : undefined;
  const read = async () => fixed ?? check(await (secret as () => Promise<string>)(), source);
  const used = new WeakMap<Signature, string>();
  return {
    source,
    async sign(request) {
      const current = await read();
      const signature = await init.sign(current, request);
      used.set(signature, current);
      return signature;
    },
    signReads: async (place) => init.signReads(await read(), place),
    accepted() {},
    refused: async (signature) => used.get(signature) !== (await read()),
  };
}

function checkKey(key: string, source: string): string {
  if (/^[A-Za-z0-9+/]{4,}={0,2}$/.test(key)) return key;
  throw new UsageError(`${source} is not a key of a storage account`, "a key is written in Base64");
}

/** A SAS as the portal and `az` give it: with `?` or without, or as the URL that it belongs to. */
function queryOf(sas: string, source: string): string {
  const query = sas.slice(sas.indexOf("?") + 1);
  if (/^[\x21-\x7e]+$/.test(query) && /(^|&)sig=/.test(query) && !query.includes("#")) return query;
  throw new UsageError(
    `${source} is not a shared access signature`,
    "it begins like sv=… and has a sig=…",
  );
}
