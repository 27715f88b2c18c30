/** The adapter: a collection of a WebDAV server, or one file of it, as a source. */
import { extname } from "node:path";
import {
  type Adapter,
  type FolderContext,
  type Location,
  type Source,
  UsageError,
} from "@pannier/core/adapter";
import { createHttpClient, makeAuthorize } from "@pannier/http-client";
import { checkableFiles } from "@pannier/signatures";
import { webdavFolder } from "./folder.ts";
import { toEntry } from "./list.ts";
import { webdavOptions } from "./options.ts";
import { makeQuestions, type Root } from "./questions.ts";
import { readVersion } from "./read.ts";
import { encodePath } from "./request.ts";
import { makeSignIn } from "./sign-in.ts";
import type { LaneData } from "./webdav-lane.ts";

/** At once. Servers for files have fewer workers than those for pages. */
const CONNECTIONS = 16;

export const webdavAdapter: Adapter<typeof webdavOptions> = checkableFiles({
  name: "webdav",
  package: "@pannier/adapter-webdav",
  schemes: ["dav", "davs"],
  options: webdavOptions,
  description: "a collection or file on a WebDAV server",

  async open(location, _options, context): Promise<Source> {
    const { url, signIn, client } = connect(location, context);
    const { credentials } = context;
    const questions = makeQuestions(client, signIn, url);
    let root: Root | undefined;
    const versions = { listedAt: Date.now(), unconditional: false };

    async function look(signal: AbortSignal): Promise<Root> {
      root = await questions.look(signal);
      versions.listedAt = root.at;
      return root;
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
        const found = await look(signal);
        if (found.file !== undefined) {
          const entries = [[toEntry(found.file, nameOf(found.path), versions.listedAt)]];
          return { ordered: true, entries };
        }
        return questions.list(found, { retry: context.retry, scope, signal });
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

  async openFolder(location, _options, context) {
    const { url, signIn, client } = connect(location, context);
    const base = new URL(url.pathname.replace(/\/*$/, "/"), url);
    return webdavFolder(client, signIn, base, {
      async identity() {
        const signs = (await signIn.authorize(url))["authorization"] !== undefined;
        return signs ? "the credentials given to Pannier" : undefined;
      },
      close: () => client.close(),
    });
  },
});

/** Nothing is asked yet. @throws UsageError */
function connect(location: Location, context: FolderContext) {
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
  return { url, signIn, client };
}

function urlOf({ scheme, host, port, pathname }: Location): URL {
  const authority = port === undefined ? host : `${host}:${port}`;
  return new URL(`${scheme === "davs" ? "https" : "http"}://${authority}${pathname}`);
}

function nameOf(path: string): string {
  return decodeURIComponent(path.slice(path.lastIndexOf("/") + 1));
}
