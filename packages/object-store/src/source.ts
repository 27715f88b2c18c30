/** The source that every store of objects is. What differs is how a store is asked. */
import { extname } from "node:path";
import type {
  Body,
  ByteRange,
  FileEntry,
  FolderContext,
  Source,
  SourceContext,
} from "@pannier/core/adapter";
import { createHttpClient, type HttpClient } from "@pannier/http-client";
import { locate, type Root } from "./locate.ts";
import { checkMarker } from "./marker.ts";
import { listObjects, type ObjectsInit } from "./objects.ts";
import { COMPARE, inByteOrder, type ListingOrder } from "./order.ts";

/** One listing of a store, before it begins. Pages are asked for again where that can help. */
export interface StoreListing extends Pick<ObjectsInit, "listPage" | "atOnce"> {
  /** Default: that of UTF-8 bytes. */
  readonly order?: ListingOrder | undefined;
}

/** An object as it was listed. */
export interface ListedObject {
  readonly key: string;
  /** What the adapter gave it to be read by. */
  readonly ref: string | undefined;
  readonly entry: FileEntry;
}

interface Store {
  readonly root: Root;
  /** The option: an object, relative to the prefix, that is written last. */
  readonly marker: string | undefined;
  readonly context: SourceContext;
  /** Ended with the source. */
  readonly http: HttpClient;
  readonly concurrency?: number | undefined;
  /** Where the store is, for messages. */
  endpoint(signal: AbortSignal): Promise<string>;
  /** What tells the newest version of an object from others. */
  inspect(key: string, signal: AbortSignal): Promise<string>;
  /** Begins a listing. */
  list(signal: AbortSignal): StoreListing | Promise<StoreListing>;
  read(object: ListedObject, range: ByteRange | undefined, signal: AbortSignal): Promise<Body>;
  /** A module that has an `OpenLane`: see {@link laneBeside}. */
  readonly laneModule: URL;
  /** What a lane has to know beside the root; `undefined` where there is none, or not now. */
  lane(signal: AbortSignal): Promise<object | undefined>;
  identity(signal: AbortSignal): Promise<string>;
}

/** The client for all that is asked of a store. */
export function storeClient(context: FolderContext): HttpClient {
  const { credentials, idleTimeout } = context;
  return createHttpClient({
    credentials,
    env: process.env,
    idleTimeout,
    onRequest: (operation) => context.request(operation),
  });
}

/** A module beside another one, whether that is source, built, or bundled with the program. */
export function laneBeside(url: string, name: string): URL {
  return new URL(`./${name}${extname(url)}`, url);
}

/** @throws UsageError where the marker is empty */
export function storeSource(store: Store): Source {
  const { root, context, http, laneModule } = store;
  const marker = checkMarker(store.marker);
  return {
    async probe(signal) {
      signal.throwIfAborted();
      if (marker === undefined) return undefined;
      return { token: `marker ${await store.inspect(root.prefix + marker, signal)}` };
    },
    async list(signal, scope) {
      signal.throwIfAborted();
      const { listPage, atOnce, order = "utf-8" } = await store.list(signal);
      const entries = listObjects(
        {
          root,
          scope,
          listPage: (prefix, range, continuation, own) =>
            context.retry(() => listPage(prefix, range, continuation, own), own),
          atOnce,
          compare: COMPARE[order],
          endpoint: () => store.endpoint(signal),
          warn: (message) => context.warn(message),
        },
        signal,
      );
      const inOrder = order === "utf-16" ? inByteOrder(entries, ({ path }) => path) : entries;
      return { ordered: order !== "none", entries: inOrder };
    },
    async read(entry, range, signal) {
      signal.throwIfAborted();
      return store.read({ ...locate(root, entry), entry }, range, signal);
    },
    async lane(signal) {
      const data = await store.lane(signal);
      if (data === undefined) return undefined;
      return { module: laneModule, data: { ...data, root }, parts: true };
    },
    identity: (signal) => store.identity(signal),
    version: (entry) => locate(root, entry).ref,
    ranges: true,
    concurrency: store.concurrency,
    close: () => http.close(),
  };
}
