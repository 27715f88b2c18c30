/** The adapter: a container, or the blobs below a prefix of one, as a source. */
import { extname } from "node:path";
import type { Adapter, Source } from "@pannier/core/adapter";
import { createHttpClient } from "@pannier/http-client";
import { checkMarker, locate, rootOf } from "@pannier/object-store";
import { containerUrl } from "./content.ts";
import { makeApi } from "./request.ts";
import type { LaneData } from "./azure-lane.ts";
import { connect } from "./connection.ts";
import { createListing } from "./list.ts";
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
    const { anonymous, endpoint } = options;
    const marker = checkMarker(options.marker);
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
      async list(signal, scope) {
        signal.throwIfAborted();
        return list.list(signal, scope);
      },
      async read(entry, range, signal) {
        const { key, ref: etag } = locate(root, entry);
        const { path, size, mtime } = entry;
        const blob = { key, path, size, mtime, etag, listedAt: list.listedAt() };
        return api.content(blob, range, signal);
      },
      async lane(signal) {
        const { endpoint: service, signIn } = connection;
        const target = signIn.common ? await http.direct(service) : undefined;
        if (target === undefined) return undefined;
        const base = containerUrl(service, container);
        const request = { method: "GET", url: new URL(base), headers: {} } as const;
        const signature = await signIn.sign(request, signal);
        const data: LaneData = { root, target, base, signature, listedAt: list.listedAt() };
        // Beside this file, whether that is source, built, or bundled with the program.
        return {
          module: new URL(`./azure-lane${extname(import.meta.url)}`, import.meta.url),
          data,
        };
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
