/** The adapter: a bucket, or the objects below a prefix of one, as a source. */
import type { Adapter } from "@pannier/core/adapter";
import { laneBeside, refuseMarker, rootOf, storeClient, storeSource } from "@pannier/object-store";
import { checkableFiles } from "@pannier/signatures";
import { connect } from "./connection.ts";
import { gcsFolder } from "./folder.ts";
import type { LaneData } from "./gcs-lane.ts";
import { LISTED_AT_ONCE, listPageOf } from "./list.ts";
import { inspectMarker } from "./marker.ts";
import { checkSettings, gcsOptions } from "./options.ts";
import { readGeneration } from "./read.ts";
import type { Access } from "./sign-in.ts";

/** An answer takes tens of milliseconds whatever the object's size, and many may be waited for; the engine asks for fewer where the server wants that. */
const READ_AT_ONCE = 64;

export const gcsAdapter: Adapter<typeof gcsOptions> = checkableFiles({
  name: "gcs",
  package: "@pannier/adapter-gcs",
  schemes: ["gs"],
  options: gcsOptions,
  description: "a bucket of Google Cloud Storage, or a prefix in one",

  async open(location, options, context) {
    const { env } = process;
    const settings = checkSettings(location, options, env["STORAGE_EMULATOR_HOST"]);
    const { marker, userProject } = settings;
    const http = storeClient(context);
    const { credentials } = context;
    const connection = connect({ settings, credentials, env, http, access: "read_only" });
    const bucket = { http, connection };
    const listPage = listPageOf(bucket, settings);
    return storeSource({
      root: rootOf(location),
      marker,
      context,
      http,
      endpoint: (signal) => connection.host(signal),
      inspect: (key, signal) => inspectMarker(bucket, key, signal),
      list: () => ({ listPage, atOnce: LISTED_AT_ONCE }),
      read: (object, range, signal) => readGeneration(bucket, object, userProject, range, signal),
      laneModule: laneBeside(import.meta.url, "gcs-lane"),
      async lane(signal): Promise<Omit<LaneData, "root"> | undefined> {
        const { objects, headers } = await connection.current(signal);
        const target = await http.direct(new URL(objects));
        return target === undefined ? undefined : { target, objects, headers, userProject };
      },
      identity: (signal) => connection.identity(signal),
      concurrency: READ_AT_ONCE,
    });
  },

  async openFolder(location, options, context) {
    const { env } = process;
    const settings = checkSettings(location, options, env["STORAGE_EMULATOR_HOST"]);
    const { marker, userProject } = settings;
    refuseMarker(marker);
    const http = storeClient(context);
    const { credentials } = context;
    const connectFor = (access: Access) => connect({ settings, credentials, env, http, access });
    const connection = connectFor("read_only");
    const writing = { http, connection: connectFor("read_write") };
    return gcsFolder({ http, connection }, writing, rootOf(location).prefix, userProject, {
      identity: (signal) => connection.identity(signal),
      close: () => http.close(),
    });
  },
});
