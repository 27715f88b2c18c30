/** https://learn.microsoft.com/azure/storage/common/storage-configure-connection-string */
import { UsageError } from "@pannier/core/adapter";
import { parseEndpoint } from "./options.ts";

export interface ConnectionString {
  readonly account: string | undefined;
  readonly key: string | undefined;
  readonly sas: string | undefined;
  /** Where the blob service is, if the text says so. */
  readonly endpoint: URL | undefined;
}

const VARIABLE = "AZURE_STORAGE_CONNECTION_STRING";

/** The emulator's account, which is the same everywhere: https://learn.microsoft.com/azure/storage/common/storage-connect-azurite */
const EMULATOR: ConnectionString = {
  account: "devstoreaccount1",
  key: "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw==",
  sas: undefined,
  endpoint: new URL("http://127.0.0.1:10000/devstoreaccount1"),
};

/** @throws UsageError, without showing the text */
export function parseConnectionString(text: string): ConnectionString {
  const settings = new Map<string, string>();
  for (const part of text.split(";")) {
    const [, name, value] = /^\s*([A-Za-z]+)=(.*?)\s*$/.exec(part) ?? [];
    if (name !== undefined && value !== undefined) settings.set(name.toLowerCase(), value);
    else if (part.trim() !== "") {
      throw new UsageError(`${VARIABLE} is not of the form NAME=VALUE;NAME=VALUE`);
    }
  }
  if (settings.get("usedevelopmentstorage")?.toLowerCase() === "true") return EMULATOR;
  const account = settings.get("accountname");
  const key = settings.get("accountkey");
  const sas = settings.get("sharedaccesssignature");
  const suffix = settings.get("endpointsuffix");
  const protocol = settings.get("defaultendpointsprotocol") ?? "https";
  const endpoint =
    settings.get("blobendpoint") ??
    (account !== undefined && suffix !== undefined
      ? `${protocol}://${account}.blob.${suffix}`
      : undefined);
  if (key === undefined && sas === undefined) {
    throw new UsageError(`${VARIABLE} holds neither AccountKey nor SharedAccessSignature`);
  }
  return {
    account,
    key,
    sas,
    endpoint: endpoint === undefined ? undefined : parseEndpoint(endpoint, `a part of ${VARIABLE}`),
  };
}

/** The account that a connection string is for. With a SAS it is often named by the endpoint alone. */
export function accountOf({ account, endpoint }: ConnectionString): string | undefined {
  return account ?? endpoint?.hostname.split(".", 1)[0];
}
