/** The URL and its options, checked and taken apart. */
import { decodedPath, type Location, type OptionSpecs, UsageError } from "@pannier/core/adapter";
import { markerOption } from "@pannier/object-store";

export const azureOptions = {
  endpoint: {
    type: "string",
    description:
      "URL of the blob service, for private endpoints, sovereign clouds and emulators; default: https://ACCOUNT.blob.core.windows.net",
    placeholder: "URL",
  },
  anonymous: {
    type: "boolean",
    default: false,
    description: "do not sign in, for public containers",
  },
  marker: markerOption("blob"),
} as const satisfies OptionSpecs;

/** The beginning of `az://account/container/prefix/`. */
export interface Place {
  readonly account: string;
  readonly container: string;
}

/** https://learn.microsoft.com/azure/storage/common/storage-account-overview#storage-account-name; `-secondary` is the replica that can be read. */
const ACCOUNT = /^[a-z0-9]{3,24}(-secondary)?$/;
/** https://learn.microsoft.com/rest/api/storageservices/naming-and-referencing-containers--blobs--and-metadata */
const CONTAINER = /^(?=.{3,63}$)([a-z0-9]+(-[a-z0-9]+)*|\$(root|web|logs))$/;

/** @throws UsageError where it names no account and container */
export function placeOf(location: Location): Place {
  const { host: account, port } = location;
  if (port !== undefined) {
    throw new UsageError(
      "the URL has a port where the storage account's name stands",
      "write az://ACCOUNT/CONTAINER/ and name the server with endpoint=URL",
    );
  }
  if (!ACCOUNT.test(account)) {
    throw new UsageError(
      `"${account}" is not the name of a storage account`,
      "write az://ACCOUNT/CONTAINER/PREFIX/: an account has 3 to 24 lower-case letters and digits",
    );
  }
  const container = decodedPath(location).split("/", 2)[1] ?? "";
  if (container === "") {
    throw new UsageError("the URL names no container", "write az://ACCOUNT/CONTAINER/PREFIX/");
  }
  if (!CONTAINER.test(container)) {
    throw new UsageError(
      `"${container}" is not the name of a container`,
      "a container has 3 to 63 lower-case letters, digits and single hyphens",
    );
  }
  return { account, container };
}
