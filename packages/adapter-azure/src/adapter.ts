/** The adapter: a container, or the blobs below a prefix of one, as a source. */
import type { Adapter, Source } from "@pannier/core/adapter";
import { createHttpClient } from "@pannier/http-client";
import { locate, rootOf } from "@pannier/object-store";
import { makeApi } from "./api.ts";
import { connect } from "./connection.ts";
import { createListing } from "./listing.ts";
import { azureOptions, placeOf } from "./options.ts";

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
    const { anonymous, endpoint, marker } = options;
    const connection = await connect({
      account,
      anonymous,
      endpoint,
      location,
      credentials,
      env,
      http,
    });
    const api = makeApi({ http, container, ...connection });
    const list = createListing({
      api,
      root,
      endpoint: connection.endpoint.host,
      warn: (message) => context.warn(message),
      retry: (work, signal) => context.retry(work, signal),
    });
    const source: Source = {
      async probe(signal) {
        signal.throwIfAborted();
        if (marker === undefined) return undefined;
        return { token: `marker ${await api.inspect(root.prefix + marker, signal)}` };
      },
      async list(signal) {
        signal.throwIfAborted();
        return list.list(signal);
      },
      async read(entry, range, signal) {
        const { key, ref: etag } = locate(root, entry);
        const { path, size, mtime } = entry;
        const blob = { key, path, size, mtime, etag, listedAt: list.listedAt() };
        return api.content(blob, range, signal);
      },
      identity: async () => connection.signIn.source,
      // The ETag.
      version: (entry) => locate(root, entry).ref,
      ranges: true,
      close: () => http.close(),
    };
    return source;
  },
};
