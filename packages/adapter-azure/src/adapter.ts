/** The adapter: a container, or the blobs below a prefix of one, as a source. */
import { type Adapter, type Source, SourceError } from "@pannier/core/adapter";
import { createHttpClient, versionOf } from "@pannier/http-client";
import { locate, rootOf } from "@pannier/object-store";
import { createListing } from "./listing.ts";
import { azureOptions, placeOf } from "./options.ts";
import { readBlob } from "./read.ts";
import { createBlobService } from "./service.ts";
import { chooseSignIn } from "./sign-in.ts";

export const azureAdapter: Adapter<typeof azureOptions> = {
  name: "azure",
  package: "@pannier/adapter-azure",
  schemes: ["az"],
  options: azureOptions,
  description: "a container of Azure Blob Storage, or a prefix in one",

  async open(location, options, context) {
    const { account, container } = placeOf(location);
    // The first segment of the path is the container.
    const root = rootOf(location, 1);
    const { credentials, idleTimeout } = context;
    const { env } = process;
    const http = createHttpClient({
      credentials,
      env,
      idleTimeout,
      onRequest: (operation) => context.request(operation),
    });
    const { anonymous, endpoint: given, marker } = options;
    const chosen = chooseSignIn({
      account,
      anonymous,
      endpoint: given,
      location,
      credentials,
      env,
      http,
    });
    const service = createBlobService({ http, container, ...chosen });
    const list = createListing({
      service,
      root,
      endpoint: chosen.endpoint.host,
      warn: (message) => context.warn(message),
      retry: (work, signal) => context.retry(work, signal),
    });
    const source: Source = {
      async probe(signal) {
        signal.throwIfAborted();
        if (marker === undefined) return undefined;
        const key = root.prefix + marker;
        const response = await service({ method: "HEAD", key, operation: "probe", signal });
        const version = versionOf(response);
        if (version === undefined) {
          throw new SourceError("unsupported", `${key}: the server tells neither ETag nor date`, {
            hint: "leave the marker out: then everything is listed",
          });
        }
        return { token: `marker ${version}` };
      },
      async list(signal) {
        signal.throwIfAborted();
        return list.list(signal);
      },
      read: (entry, range, signal) =>
        readBlob(service, locate(root, entry), entry, list.listedAt(), range, signal),
      identity: async () => chosen.signIn.source,
      // The ETag.
      version: (entry) => locate(root, entry).ref,
      ranges: true,
      close: () => http.close(),
    };
    return source;
  },
};
