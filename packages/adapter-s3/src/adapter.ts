/** The adapter: a bucket, or the objects below a prefix of one, as a source. */
import type { Adapter } from "@pannier/core/adapter";
import { laneBeside, storeClient, storeSource } from "@pannier/object-store";
import { checkableFiles } from "@pannier/signatures";
import { connect } from "./connection.ts";
import { openS3Folder } from "./folder.ts";
import { makeLister } from "./list.ts";
import { inspectMarker } from "./marker.ts";
import { checkSettings, s3Options } from "./options.ts";
import { makeReader } from "./read.ts";
import { makeRequests } from "./request.ts";
import type { LaneData } from "./s3-lane.ts";

export const s3Adapter: Adapter<typeof s3Options> = checkableFiles({
  name: "s3",
  package: "@pannier/adapter-s3",
  schemes: ["s3"],
  options: s3Options,
  description: "a bucket of Amazon S3 or of a server with the S3 API, or a prefix in one",

  async open(location, options, context) {
    const settings = checkSettings(location, options);
    const { root, marker, requesterPays, versions } = settings;
    const http = storeClient(context);
    const connection = connect(settings, location, context.credentials, http);
    const archived = new Set<string>();
    const requests = makeRequests({ http, connection, requesterPays, archived });
    const { list, listedAt } = makeLister(requests, { prefix: root.prefix, versions, archived });
    const reader = makeReader(requests, listedAt);
    return storeSource({
      root,
      marker,
      context,
      http,
      endpoint: async () => new URL((await requests.place()).base).host,
      inspect: (key, signal) => inspectMarker(requests, key, signal),
      list,
      read: reader.read,
      laneModule: laneBeside(import.meta.url, "s3-lane"),
      async lane(signal): Promise<Omit<LaneData, "root"> | undefined> {
        const place = await requests.place();
        const target = await http.direct(new URL(place.base));
        if (target === undefined) return undefined;
        const { keys } = await connection.signIn.current(signal);
        const unconditional = reader.unconditional();
        return { target, place, keys, requesterPays, unconditional, listedAt: listedAt() };
      },
      identity: async (signal) => (await connection.signIn.current(signal)).from,
    });
  },

  openFolder: async (location, options, context) => openS3Folder(location, options, context),
});
