/** The adapter: a bucket, or the objects below a prefix of one, as a source. */
import { extname } from "node:path";
import type { Adapter, Source } from "@pannier/core/adapter";
import { createHttpClient } from "@pannier/http-client";
import { listObjects, locate, type ObjectsInit } from "@pannier/object-store";
import { checkableFiles } from "@pannier/signatures";
import { makeApi } from "./request.ts";
import { connect } from "./connection.ts";
import { checkSettings, s3Options } from "./options.ts";
import type { Next } from "./page.ts";

/** Pages asked for at once. S3 takes 5,500 requests a second for each prefix. */
const PAGES_AT_ONCE = 24;
/** Archived objects that are named at once. */
const NAMED = 5;

export const s3Adapter: Adapter<typeof s3Options> = checkableFiles({
  name: "s3",
  package: "@pannier/adapter-s3",
  schemes: ["s3"],
  options: s3Options,
  description: "a bucket of Amazon S3 or a store that speaks its language, or a prefix in one",

  async open(location, options, context) {
    const settings = checkSettings(location, options);
    const { root, marker } = settings;
    const { credentials, idleTimeout } = context;
    const http = createHttpClient({
      credentials,
      env: process.env,
      idleTimeout,
      onRequest: (operation) => context.request(operation),
    });
    const connection = connect(settings, location, credentials, http);
    /** Of the last listing, the first ones. */
    const archived = new Set<string>();
    const api = makeApi({ http, connection, settings, archived });
    const source: Source = {
      async probe(signal) {
        signal.throwIfAborted();
        if (marker === undefined) return undefined;
        return { token: `marker ${await api.inspect(root.prefix + marker, signal)}` };
      },
      async list(signal, scope) {
        signal.throwIfAborted();
        archived.clear();
        api.begin();
        const init: ObjectsInit = {
          root,
          scope,
          async listPage(prefix, range, continuation, own) {
            const from =
              continuation === undefined ? undefined : (JSON.parse(continuation) as Next);
            const page = await context.retry(() => api.page(prefix, range, from, own), own);
            for (const item of page.items) {
              if (item.archived === true && prefix === root.prefix && archived.size < NAMED) {
                archived.add(item.key);
              }
            }
            const { items, next, passed } = page;
            return { items, next: next === undefined ? undefined : JSON.stringify(next), passed };
          },
          endpoint: async () => new URL((await connection.place()).base).host,
          atOnce: PAGES_AT_ONCE,
          warn: (message: string) => context.warn(message),
        };
        return { ordered: true, entries: listObjects(init, signal) };
      },
      async read(entry, range, signal) {
        signal.throwIfAborted();
        const { key, ref: versionId } = locate(root, entry);
        const { size, mtime, fingerprint } = entry;
        return api.content({ key, size, mtime, fingerprint, versionId }, range, signal);
      },
      async lane() {
        const data = await api.lane();
        // Beside this file, whether that is source, built, or bundled with the program.
        const module = new URL(`./s3-lane${extname(import.meta.url)}`, import.meta.url);
        return data === undefined ? undefined : { module, data: { ...data, root } };
      },
      version: (entry) => locate(root, entry).ref,
      identity: () => connection.identity(),
      ranges: true,
      close: () => http.close(),
    };
    return source;
  },
});
