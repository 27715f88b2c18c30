/** The adapter: a bucket, or the objects below a prefix of one, as a source. */
import { extname } from "node:path";
import { type Adapter, type Source, SourceError } from "@pannier/core/adapter";
import { createHttpClient } from "@pannier/http-client";
import { listObjects, type ListObjectsPage, locate, rootOf } from "@pannier/object-store";
import { makeApi } from "./request.ts";
import { connect } from "./connection.ts";
import type { LaneData } from "./gcs-lane.ts";
import { LISTED_AT_ONCE, listPageBy } from "./list.ts";
import { checkSettings, gcsOptions } from "./options.ts";

/** An answer takes tens of milliseconds whatever the object's size, and many may be waited for; the engine asks for fewer where the server wants that. */
const READ_AT_ONCE = 64;

export const gcsAdapter: Adapter<typeof gcsOptions> = {
  name: "gcs",
  package: "@pannier/adapter-gcs",
  schemes: ["gs"],
  options: gcsOptions,
  description: "a bucket of Google Cloud Storage, or a prefix in one",

  async open(location, options, context) {
    const { env } = process;
    const settings = checkSettings(location, options, env["STORAGE_EMULATOR_HOST"]);
    const root = rootOf(location);
    const { credentials, idleTimeout } = context;
    const warn = (message: string) => context.warn(message);
    const http = createHttpClient({
      credentials,
      env,
      idleTimeout,
      onRequest: (operation) => context.request(operation),
    });
    const { marker } = settings;
    const connection = connect({ settings, credentials, env, http });
    const api = makeApi({ http, connection, settings });
    const page = listPageBy(api);
    const listPage: ListObjectsPage = (prefix, range, token, own) =>
      context.retry(() => page(prefix, range, token, own), own);
    const source: Source = {
      async probe(signal) {
        signal.throwIfAborted();
        if (marker === undefined) return undefined;
        const { generation } = await api.object(root.prefix + marker, signal);
        return { token: `marker ${generation}` };
      },
      async list(signal, scope) {
        signal.throwIfAborted();
        const endpoint = () => connection.host(signal);
        const init = { root, scope, listPage, atOnce: LISTED_AT_ONCE, endpoint, warn };
        const entries = listObjects(init, signal);
        return { ordered: true, entries };
      },
      async read(entry, range, signal) {
        const { key, ref: generation } = locate(root, entry);
        if (generation !== undefined) {
          return api.content(key, { generation, size: entry.size }, range, signal);
        }
        throw new SourceError("changed", `${key}: it is not known which generation was listed`);
      },
      async lane(signal) {
        const { objects, headers } = await connection.current(signal);
        const target = await http.direct(new URL(objects));
        if (target === undefined) return undefined;
        const { userProject } = settings;
        const data: LaneData = { root, target, objects, headers, userProject };
        // Beside this file, whether that is source, built, or bundled with the program.
        return { module: new URL(`./gcs-lane${extname(import.meta.url)}`, import.meta.url), data };
      },
      identity: (signal) => connection.identity(signal),
      version: (entry) => locate(root, entry).ref,
      ranges: true,
      concurrency: READ_AT_ONCE,
      close: () => http.close(),
    };
    return source;
  },
};
