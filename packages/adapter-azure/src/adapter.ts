/** The adapter: a container, or the blobs below a prefix of one, as a source. */
import type { Adapter } from "@pannier/core/adapter";
import { laneBeside, rootOf, storeClient, storeSource } from "@pannier/object-store";
import { checkableFiles } from "@pannier/signatures";
import type { LaneData } from "./azure-lane.ts";
import { connect } from "./connection.ts";
import { openAzureFolder } from "./folder.ts";
import { makeLister } from "./list.ts";
import { inspectMarker } from "./marker.ts";
import { azureOptions, placeOf } from "./options.ts";
import { readBlob } from "./read.ts";
import { openContainer } from "./request.ts";

export const azureAdapter: Adapter<typeof azureOptions> = checkableFiles({
  name: "azure",
  package: "@pannier/adapter-azure",
  schemes: ["az"],
  options: azureOptions,
  description: "a container of Azure Blob Storage, or a prefix in one",

  async open(location, options, context) {
    const place = placeOf(location);
    // The first segment of the path is the container.
    const root = rootOf(location, 1);
    const { anonymous, endpoint, marker } = options;
    const { credentials } = context;
    const { env } = process;
    const http = storeClient(context);
    const { account } = place;
    const init = { account, anonymous, endpoint, location, credentials, env, http };
    const connection = await connect(init);
    const { signIn } = connection;
    const container = openContainer(connection, place.container, http);
    const { list, listedAt } = makeLister(container, root.prefix, (...work) =>
      context.retry(...work),
    );
    return storeSource({
      root,
      marker,
      context,
      http,
      endpoint: async () => connection.endpoint.host,
      inspect: (key, signal) => inspectMarker(container, key, signal),
      list,
      read: (blob, range, signal) => readBlob(container, blob, listedAt(), range, signal),
      laneModule: laneBeside(import.meta.url, "azure-lane"),
      async lane(signal): Promise<Omit<LaneData, "root"> | undefined> {
        const target = await http.direct(connection.endpoint);
        if (target === undefined) return undefined;
        const { base } = container;
        const at = { container: place.container, url: new URL(base) };
        const signature = await signIn.signReads(at, signal);
        if (signature === undefined) return undefined;
        return { target, base, signature, listedAt: listedAt() };
      },
      identity: async () => signIn.source,
    });
  },

  openFolder: (location, options, context) => openAzureFolder(location, options, context),
});
