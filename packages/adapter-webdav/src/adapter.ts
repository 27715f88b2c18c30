/** The adapter: a collection of a WebDAV server, or one file of it, as a source. */
import { extname } from "node:path";
import {
  type Adapter,
  type Location,
  quotePath,
  type Source,
  SourceError,
  UsageError,
} from "@pannier/core/adapter";
import {
  createHttpClient,
  type HttpResponse,
  makeAuthorize,
  serverTime,
} from "@pannier/http-client";
import { checkableFiles } from "@pannier/signatures";
import {
  type Listing,
  listDeep,
  listWalked,
  namesIn,
  NO_DEPTH,
  isCollection,
  type Propfind,
  resourcesOf,
  toEntry,
} from "./list.ts";
import { encodePath } from "./request.ts";
import type { Resource } from "./multistatus.ts";
import { webdavOptions } from "./options.ts";
import { makeSignIn } from "./sign-in.ts";
import { readVersion } from "./read.ts";
import type { LaneData } from "./webdav-lane.ts";

const PROPFIND = `<?xml version="1.0" encoding="utf-8"?>
<propfind xmlns="DAV:"><prop><resourcetype/><getcontentlength/><getlastmodified/><getetag/></prop></propfind>`;

/** At once. Servers for files have fewer workers than those for pages. */
const CONNECTIONS = 16;

/** Where the source is, once the server was asked. */
interface Root {
  /** As it is asked for, percent-encoded; of a collection with a `/` at the end. */
  readonly path: string;
  /**
   * As the server names it, decoded: in another case where that does not matter to it, by the name of a user that signs in by another
   * one, below another path than a proxy's.
   */
  readonly own: readonly string[];
  /** Where the source is one file. */
  readonly file: Resource | undefined;
}

export const webdavAdapter: Adapter<typeof webdavOptions> = checkableFiles({
  name: "webdav",
  package: "@pannier/adapter-webdav",
  schemes: ["dav", "davs"],
  options: webdavOptions,
  description: "a collection or file on a WebDAV server",

  async open(location, _options, context): Promise<Source> {
    if (location.host === "") {
      throw new UsageError("a WebDAV source needs a host", "write davs://host/path/");
    }
    const url = urlOf(location);
    const { credentials, idleTimeout } = context;
    const { username, password } = location;
    const { env } = process;
    const signIn = makeSignIn(
      makeAuthorize({ origin: url.origin, username, password, credentials, env }),
    );
    const client = createHttpClient({
      credentials,
      authorize: signIn.authorize,
      env,
      idleTimeout,
      connections: CONNECTIONS,
      onRequest: (operation) => context.request(operation),
    });
    let root: Root | undefined;
    let deep = true;
    const versions = { listedAt: Date.now(), unconditional: false };

    const ask = (path: string, depth: string, expect: readonly number[], signal: AbortSignal) => {
      const below =
        root === undefined || path === root.path ? undefined : path.slice(root.path.length);
      return signIn.request(client, new URL(path, url.origin), {
        method: "PROPFIND",
        headers: { depth, "content-type": "application/xml; charset=utf-8" },
        body: PROPFIND,
        expect: [207, ...expect],
        operation: "list",
        subject: below === undefined ? undefined : quotePath(decodeURI(below)),
        signal,
      });
    };
    const propfind: Propfind = (path, depth, signal) => ask(path, depth, [], signal);

    /** A collection may be named without its `/`: servers redirect, or answer as they are meant. */
    async function look(signal: AbortSignal): Promise<Root> {
      const response = await propfind(url.pathname, "0", signal).catch((error: unknown) => {
        throw withHint(error);
      });
      const path = response.url.pathname;
      versions.listedAt = serverTime(response);
      const found: Resource[] = [];
      for await (const resources of resourcesOf(response)) found.push(...resources);
      const [itself] = found;
      if (itself === undefined || found.length > 1) {
        const said = itself === undefined ? "nothing" : "more";
        throw new SourceError("invalid", `the server says ${said} of what it was asked for`, {
          hint: "check the path in the URL",
        });
      }
      const own = namesIn(itself.href);
      root = isCollection(itself)
        ? { path: path.endsWith("/") ? path : `${path}/`, own, file: undefined }
        : { path, own, file: itself };
      return root;
    }

    /** `undefined` where the server does not list all at once. */
    async function askDeep(path: string, signal: AbortSignal): Promise<HttpResponse | undefined> {
      const response = await ask(path, "infinity", NO_DEPTH, signal).catch((error: unknown) => {
        // Apache hangs up where a collection may not be read, wanted or not: the next time it is walked.
        if (!signal.aborted && (error as SourceError).reached === undefined) deep = false;
        throw error;
      });
      if (response.status === 207) return response;
      await response.discard();
      deep = false;
      return undefined;
    }

    /** A tree so large that the server gathers it for longer than we wait is walked the next time. */
    async function* watched(listing: ReturnType<typeof listDeep>, signal: AbortSignal) {
      try {
        yield* listing;
      } catch (error) {
        if (!signal.aborted) deep = false;
        throw error;
      }
    }

    return {
      ranges: true,
      concurrency: CONNECTIONS,

      async probe(signal) {
        signal.throwIfAborted();
        // No property of a collection tells of changes further below.
        return undefined;
      },

      async list(signal, scope) {
        signal.throwIfAborted();
        const { path, own, file } = await look(signal);
        if (file !== undefined) {
          const entries = [[toEntry(file, nameOf(path), versions.listedAt)]];
          return { ordered: true, entries };
        }
        const listing: Listing = { propfind, retry: context.retry, base: path, own, scope, signal };
        const response = deep ? await askDeep(path, signal) : undefined;
        if (response === undefined) return { ordered: true, entries: listWalked(listing) };
        return { ordered: false, entries: watched(listDeep(response, listing), signal) };
      },

      async read(entry, range, signal) {
        signal.throwIfAborted();
        const { path, file } = root ?? (await look(signal));
        const full = file === undefined ? path + encodePath(entry.path) : path;
        return readVersion({
          client,
          signIn,
          versions,
          url: new URL(full, url.origin),
          entry,
          range,
          signal,
        });
      },

      async lane() {
        // Cookies are for some paths and not for others.
        if (root === undefined || root.file !== undefined || credentials.cookieFile !== undefined)
          return undefined;
        const target = await client.direct(url);
        const headers = await signIn.forAll(url);
        if (target === undefined || headers === undefined) return undefined;
        const data: LaneData = { target, base: root.path, headers, ...versions };
        // Beside this file, whether that is source, built, or bundled with the program.
        const module = new URL(`./webdav-lane${extname(import.meta.url)}`, import.meta.url);
        return { module, data };
      },

      close: () => client.close(),
    };
  },
});

function urlOf({ scheme, host, port, pathname }: Location): URL {
  const authority = port === undefined ? host : `${host}:${port}`;
  return new URL(`${scheme === "davs" ? "https" : "http"}://${authority}${pathname}`);
}

/** On first contact a connection that breaks is more likely to be the wrong port than bad luck. */
function withHint(error: unknown): unknown {
  if (!(error instanceof SourceError) || error.code !== "unavailable" || error.hint !== undefined)
    return error;
  const { message, transient, retryAfter, cause } = error;
  const hint = "check that a WebDAV server listens on this host and port";
  return new SourceError("unavailable", message, { transient, retryAfter, cause, hint });
}

function nameOf(path: string): string {
  return decodeURIComponent(path.slice(path.lastIndexOf("/") + 1));
}
