/** The adapter: a container, or the blobs below a prefix of one, as a source. */
import type { Adapter, Source } from "@pannier/core";
import { createHttpClient } from "@pannier/http-client";
import { listBlobs } from "./listing.ts";
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
    const { account, container, prefix } = placeOf(location);
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
    const source: Source = {
      async probe(signal) {
        signal.throwIfAborted();
        if (marker === undefined) return undefined;
        const key = prefix + marker;
        const { headers } = await service({ method: "HEAD", key, operation: "probe", signal });
        return { token: `marker ${headers["etag"]}` };
      },
      async list(signal) {
        signal.throwIfAborted();
        return listBlobs(service, prefix, signal);
      },
      read: (entry, range, signal) => readBlob(service, prefix + entry.path, entry, range, signal),
      ranges: true,
      close: () => http.close(),
    };
    return source;
  },
};
