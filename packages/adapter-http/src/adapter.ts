/** The adapter: decides by the URL and its options whether a source is one file, an archive or a directory. */
import { extname } from "node:path";
import { formatOf, looksLikeArchive, MAGIC_LENGTH } from "@pannier/archive";
import {
  type Adapter,
  type LaneSpec,
  type Location,
  type Source,
  UsageError,
} from "@pannier/core/adapter";
import { createHttpClient, type HttpClient, makeAuthorize } from "@pannier/http-client";
import { archiveSource, besideUrl, resolveChecksum, undecidedSource } from "@pannier/http-content";
import { FILE_SIGNATURES, signedFile } from "@pannier/signatures";
import { directorySource } from "./directory/directory.ts";
import { fileSource, probeUrl } from "./file.ts";
import type { LaneData } from "./http-lane.ts";
import { checkOptions, httpOptions, type HttpSettings } from "./options.ts";

// Beside this file, whether that is source, built, or bundled with the program.
const HTTP_LANE = new URL(`./http-lane${extname(import.meta.url)}`, import.meta.url);
const ARCHIVE_LANE = new URL(`./archive-lane${extname(import.meta.url)}`, import.meta.url);

export const httpAdapter: Adapter<typeof httpOptions> = {
  name: "http",
  package: "@pannier/adapter-http",
  schemes: ["http", "https"],
  options: httpOptions,
  ownQuery: true,
  signatures: FILE_SIGNATURES,
  description: "a file, an archive or a directory on a web server",

  async open(location, options, context) {
    const settings = checkOptions(options);
    const url = urlOf(location);
    const name = nameOf(url);
    const kind = kindOf(name, settings);
    const { credentials, idleTimeout } = context;
    const { username, password } = location;
    const signIn = { origin: url.origin, username, password, credentials, env: process.env };
    const authorize = makeAuthorize(signIn);
    const http = createHttpClient({
      credentials,
      authorize,
      env: process.env,
      idleTimeout,
      onRequest: (operation) => context.request(operation),
    });
    const client: HttpClient = {
      ...http,
      request: (asked, request) =>
        http.request(asked, { subject: subjectOf(asked, url), ...request }),
    };
    const { strip, path, checksum, manifest } = settings;
    const lane = async (
      base: URL,
      of: LaneData["kind"] = "directory",
    ): Promise<LaneSpec | undefined> => {
      const target = await http.direct(base);
      // Cookies are for some paths and not for others.
      if (target === undefined || credentials.cookieFile !== undefined) return undefined;
      const headers = await authorize(base);
      const data: LaneData = { target, headers, url: base.href, kind: of };
      return { module: HTTP_LANE, data, parts: true };
    };
    const { signers = [] } = context;
    if (signers.length > 0 && kind === "directory")
      throw new UsageError(
        "a directory on a web server has no signature",
        "name a file or an archive that has its signature beside it",
      );
    const file = () => {
      const surely = options.unpack === "no";
      const source = fileSource({
        client,
        url,
        name,
        checksum,
        surely,
        lane: () => lane(url, "file"),
      });
      if (signers.length === 0) return source;
      return signedFile(source, (signal) => besideUrl(client, url, signal), signers);
    };
    const archive = () =>
      archiveSource({
        client,
        locate: async (signal) => {
          return { url, checksum: await resolveChecksum(checksum, url, client, signal) };
        },
        beside: (_, signal) => besideUrl(client, url, signal),
        probe: (signal, known) => probeUrl(client, url, signal, known),
        strip,
        path,
        context,
        laneModule: ARCHIVE_LANE,
      });
    switch (kind) {
      case "file":
        return file();
      case "archive":
        return archive();
      case "directory":
        return directorySource({ client, url, manifest, path, checksum, context, lane });
      case "unknown":
        return undecided(
          (signal, known) => probeUrl(client, url, signal, known),
          async (signal) => {
            const response = await client.request(url, { operation: "list", signal });
            const chunks: Uint8Array[] = [];
            let size = 0;
            for await (const chunk of response.body) {
              chunks.push(chunk);
              size += chunk.byteLength;
              if (size >= MAGIC_LENGTH) break;
            }
            return formatOf(Buffer.concat(chunks)) === undefined ? file() : archive();
          },
          () => client.close(),
        );
    }
  },
};

/** The URL to ask for: without what is ours in its query, and with the rest of it exactly as it was signed. */
function urlOf(location: Location): URL {
  const port = location.port === undefined ? "" : `:${location.port}`;
  const query = location.rawQuery
    .split("&")
    .filter((part) => !Object.hasOwn(httpOptions, [...new URLSearchParams(part).keys()][0] ?? ""))
    .join("&");
  const search = query === "" ? "" : `?${query}`;
  return new URL(`${location.scheme}://${location.host}${port}${location.pathname}${search}`);
}

/** How messages name what is not the source itself: a file below it, or a checksum file wherever it is. */
function subjectOf(asked: URL | string, source: URL): string | undefined {
  const { origin, host, pathname } = new URL(asked);
  if (origin !== source.origin) return host + pathname;
  if (pathname === source.pathname) return undefined;
  const folder = source.pathname.slice(0, source.pathname.lastIndexOf("/") + 1);
  return pathname.startsWith(folder) ? pathname.slice(folder.length) : pathname;
}

/** The last segment of the path, empty for a directory. */
function nameOf(url: URL): string {
  const segment = url.pathname.slice(url.pathname.lastIndexOf("/") + 1);
  let name: string;
  try {
    name = decodeURIComponent(segment);
  } catch {
    throw new UsageError("the file's name in the URL is not UTF-8");
  }
  if (name.includes("/")) throw new UsageError("the file's name in the URL has a slash in it");
  return name;
}

function kindOf(
  name: string,
  settings: HttpSettings,
): "file" | "archive" | "directory" | "unknown" {
  const { unpack, strip, path, manifest } = settings;
  if (name === "") {
    if (unpack === "yes" || strip > 0) {
      throw new UsageError("a URL that ends with / is a directory: nothing is unpacked there");
    }
    return "directory";
  }
  if (manifest !== "auto") {
    throw new UsageError('option "manifest" is for directories', 'end the URL with "/"');
  }
  const archive = unpack === "auto" ? looksLikeArchive(name) : unpack === "yes";
  if (archive === false && (strip > 0 || path.length > 0)) {
    throw new UsageError(
      'options "strip" and "path" are for archives',
      "with unpack=yes it is taken as one; a directory's URL ends with /",
    );
  }
  return archive === undefined ? "unknown" : archive ? "archive" : "file";
}

/** A source that finds out at its first listing what it is. */
function undecided(
  probe: Source["probe"],
  decide: (signal: AbortSignal) => Promise<Source>,
  close: () => Promise<void>,
): Source {
  let decided: Source | undefined;
  const get = async (signal: AbortSignal) => (decided ??= await decide(signal));
  return undecidedSource({
    probe,
    toList: get,
    toRead: get,
    decided: () => decided,
    close: async () => (decided === undefined ? close() : decided.close()),
  });
}
