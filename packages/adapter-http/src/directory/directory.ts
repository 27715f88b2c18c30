/** A source that is a directory of a web server: listed by a manifest, or else by the server's own index pages. */
import {
  type Entry,
  type FileEntry,
  type Listing,
  type Source,
  type SourceContext,
  SourceError,
} from "@pannier/core";
import {
  type HttpClient,
  type HttpResponse,
  changedSince,
  inspect,
  type Pin,
  pinOf,
  readPinned,
  resourceOf,
} from "@pannier/http-client";
import { type ChecksumOption, resolveChecksum, verified } from "../checksum.ts";
import { createDigestReader } from "../digest.ts";
import { MANIFEST_NAMES, readManifest } from "./manifest.ts";
import { type IndexItem, readIndex } from "./index-page.ts";

interface Listed {
  /** Name and version of the manifest; `undefined` for index pages. */
  readonly manifest: { readonly name: string; readonly pin: Pin | undefined } | undefined;
  readonly ranges: boolean;
}

/** Index pages asked for at once, and files whose index tells nothing. */
const REQUESTS_AT_ONCE = 8;
/** Deeper than any tree that is meant so: a link of the server that leads back up would never end. */
const MAX_DEPTH = 100;

export interface DirectorySourceInit {
  readonly client: HttpClient;
  /** Ends with a slash. Its query goes with every request. */
  readonly url: URL;
  /** `auto`, `none`, or a name. */
  readonly manifest: string;
  /** Segments of the directory below that becomes the root. */
  readonly path: readonly string[];
  /** Of the manifest. */
  readonly checksum: ChecksumOption | undefined;
  readonly context: SourceContext;
}

export function directorySource(init: DirectorySourceInit): Source {
  const { client, url, path } = init;
  const names =
    init.manifest === "auto" ? MANIFEST_NAMES : init.manifest === "none" ? [] : [init.manifest];
  const prefix = path.map((segment) => `${segment}/`).join("");
  /** What the last listing was made from. */
  let listed: Listed | undefined;

  const urlOf = (file: string) => {
    const found = new URL(url);
    found.pathname += file.split("/").map(encodeURIComponent).join("/");
    return found;
  };

  async function listByManifest(name: string, response: HttpResponse, signal: AbortSignal) {
    const expected = await resolveChecksum(init.checksum, urlOf(name), client, signal);
    const pin = pinOf(response);
    listed = { manifest: { name, pin }, ranges: resourceOf(response).ranges };
    return {
      entries: below(prefix, readManifest(name, verified(response.body, expected))),
      ordered: false,
      token: () => (pin === undefined ? undefined : `${name} ${pin}`),
    } satisfies Listing;
  }

  /** A file that is not what the manifest says: either the manifest is old by now, or the content is wrong. */
  const readByDigest = createDigestReader(client, async (signal) => {
    const { name, pin } = listed?.manifest ?? {};
    const same =
      pin !== undefined &&
      (await inspect(client, urlOf(name as string), "read", signal, pin)) === undefined;
    return same
      ? new SourceError("invalid", "the file is not what the manifest says")
      : new SourceError("changed", "the file is no longer what the manifest said");
  });

  return {
    async probe(signal, known) {
      signal.throwIfAborted();
      const name = names.find((each) => known?.startsWith(`${each} `)) ?? names[0];
      // With `auto` and nothing known yet there may be no manifest at all: the listing will tell.
      if (name === undefined || (known === undefined && init.manifest === "auto")) return undefined;
      const pin = known?.startsWith(`${name} `) ? known.slice(name.length + 1) : undefined;
      if (pin === undefined && init.manifest === "auto") return undefined;
      const response = await client.request(urlOf(name), {
        headers: changedSince(pin),
        operation: "probe",
        signal,
        expect: init.manifest === "auto" ? "any" : [200, 304],
      });
      await response.discard();
      if (response.status === 304 && known !== undefined) return { token: known };
      const now = response.status === 200 ? pinOf(response) : undefined;
      return now === undefined ? undefined : { token: `${name} ${now}` };
    },

    async list(signal) {
      signal.throwIfAborted();
      for (const name of names) {
        const response = await client.request(urlOf(name), {
          operation: "list",
          signal,
          // Some stores answer 403 for what is not there. A name that is only tried would puzzle in a message.
          ...(init.manifest === "auto" ? { expect: [200, 403, 404, 410], subject: undefined } : {}),
        });
        if (init.manifest !== "auto" || isManifest(response)) {
          return listByManifest(name, response, signal);
        }
        await response.discard();
      }
      if (init.checksum !== undefined) {
        throw new SourceError("unsupported", "there is no manifest that could have a checksum");
      }
      listed = { manifest: undefined, ranges: false };
      return { entries: below(prefix, walk(client, url, prefix, urlOf, signal)), ordered: false };
    },

    async read(entry, range, signal) {
      const file = urlOf(prefix + entry.path);
      if (entry.ref !== undefined || entry.digest === undefined) {
        return readPinned(client, file, entry.ref, entry.size, range, signal);
      }
      return readByDigest(entry, file, range, signal);
    },

    get ranges() {
      return listed?.ranges;
    },
    get contentAddressed() {
      return listed?.manifest !== undefined;
    },
    close: () => client.close(),
  };
}

/** Some sites answer every URL with a page. */
function isManifest({ status, headers }: HttpResponse): boolean {
  const type = headers["content-type"] ?? "";
  return status === 200 && !/html/i.test(type);
}

/** Entries below a directory, with their paths from there. */
async function* below(
  prefix: string,
  batches: AsyncIterable<readonly Entry[]>,
): AsyncGenerator<Entry[]> {
  for await (const batch of batches) {
    yield batch
      .filter((entry) => entry.path.startsWith(prefix))
      .map((entry) =>
        prefix === "" ? entry : { ...entry, path: entry.path.slice(prefix.length) },
      );
  }
}

/**
 * Follows index pages downwards. A few are asked for ahead, but read one after the other, so that neither a large page
 * nor many of them are in memory.
 */
async function* walk(
  client: HttpClient,
  root: URL,
  start: string,
  urlOf: (path: string) => URL,
  signal: AbortSignal,
): AsyncGenerator<FileEntry[]> {
  const giveUp = new AbortController();
  const either = AbortSignal.any([signal, giveUp.signal]);
  const waiting = [start];
  const asked: { directory: string; response: Promise<HttpResponse> }[] = [];
  try {
    while (waiting.length > 0 || asked.length > 0) {
      while (waiting.length > 0 && asked.length < REQUESTS_AT_ONCE) {
        const directory = waiting.pop() as string;
        const url = directory === "" ? root : urlOf(directory);
        const response = client.request(url, { operation: "list", signal: either });
        response.catch(() => {});
        asked.push({ directory, response });
      }
      const { directory, response } = asked.shift() as (typeof asked)[number];
      const page = await response;
      if (directory.split("/").length > MAX_DEPTH) {
        throw new SourceError("invalid", `the index goes deeper than ${MAX_DEPTH} directories`);
      }
      for await (const items of readIndex(page)) {
        for (const item of items) {
          if (item.directory) waiting.push(`${directory}${item.name}/`);
        }
        yield await entriesOf(items, directory, page);
      }
    }
  } finally {
    giveUp.abort();
  }

  async function entriesOf(
    items: readonly IndexItem[],
    directory: string,
    page: HttpResponse,
  ): Promise<FileEntry[]> {
    const files = items.filter((item) => !item.directory);
    const entries: FileEntry[] = [];
    for (let i = 0; i < files.length; i += REQUESTS_AT_ONCE) {
      const group = files.slice(i, i + REQUESTS_AT_ONCE).map((item) => {
        const path = directory + item.name;
        return entryOf(item, path, page) ?? entryByHead(path);
      });
      entries.push(...(await Promise.all(group)));
    }
    return entries;
  }

  /** Where the index tells nothing, the file itself is asked. */
  async function entryByHead(path: string): Promise<FileEntry> {
    const request = { method: "HEAD", operation: "list", signal: either } as const;
    const { pin, size, mtime } = resourceOf(await client.request(urlOf(path), request));
    if (pin === undefined) {
      throw new SourceError("unsupported", `nothing tells when ${JSON.stringify(path)} changes`, {
        hint: "put a SHA256SUMS file there",
      });
    }
    return { kind: "file", path, size, mtime, fingerprint: pin, ref: pin };
  }
}

function entryOf(item: IndexItem, path: string, page: HttpResponse): FileEntry | undefined {
  const { size, stamp, modified } = item;
  if (stamp === undefined || modified === undefined) return undefined;
  const { time, unit, utc } = modified;
  const date = new Date(time);
  const ref = unit === "second" ? `modified ${date.toUTCString()}` : `minute ${date.toISOString()}`;
  const served = Date.parse(page.headers["date"] ?? "");
  // A file written just now may be written again within the same tick of its date: it is looked at once more.
  const fresh = utc && served - time < (unit === "second" ? 2000 : 120_000) && served >= time;
  const fingerprint = fresh ? `${stamp} fresh` : stamp;
  return { kind: "file", path, size, mtime: utc ? time : undefined, fingerprint, ref };
}
