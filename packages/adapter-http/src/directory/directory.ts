/** A source that is a directory of a web server: listed by a manifest, or else by the server's own index pages. */
import {
  type Entry,
  type LaneSpec,
  type Listing,
  type Source,
  type SourceContext,
  SourceError,
} from "@pannier/core/adapter";
import {
  type HttpClient,
  type HttpResponse,
  ifNoneMatchHeaders,
  inspect,
  type Validator,
  validatorOf,
  plainBody,
  readVersion,
  resourceOf,
  settledValidator,
} from "@pannier/http-client";
import {
  type ChecksumOption,
  createDigestReader,
  resolveChecksum,
  verified,
} from "@pannier/http-content";
import { createAbsences } from "./absences.ts";
import { fileUrl } from "./file-url.ts";
import { walkIndex } from "./index-walk.ts";
import { MANIFEST_NAMES, readManifest } from "./manifest.ts";

interface Listed {
  /** Name and version of the manifest; `undefined` for index pages. */
  readonly manifest:
    | { readonly name: string; readonly validator: Validator | undefined }
    | undefined;
  readonly ranges: boolean;
}

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
  /** Makes a lane of a directory's URL, if there may be one. */
  readonly lane: (directory: URL) => Promise<LaneSpec | undefined>;
}

export function directorySource(init: DirectorySourceInit): Source {
  const { client, url, path, context } = init;
  const names =
    init.manifest === "auto" ? MANIFEST_NAMES : init.manifest === "none" ? [] : [init.manifest];
  const prefix = path.map((segment) => `${segment}/`).join("");
  /** What the last listing was made from. */
  let listed: Listed | undefined;
  const absences = createAbsences(context.warn);

  const urlOf = (file: string) => fileUrl(url, file);

  async function listByManifest(name: string, response: HttpResponse, signal: AbortSignal) {
    const expected = await resolveChecksum(init.checksum, urlOf(name), client, signal);
    const validator = validatorOf(response);
    const token = settledValidator(response);
    listed = { manifest: { name, validator }, ranges: resourceOf(response).ranges };
    return {
      entries: below(prefix, readManifest(name, verified(await plainBody(response), expected))),
      ordered: false,
      token: () => (token === undefined ? undefined : `${name} ${token}`),
    } satisfies Listing;
  }

  const readByDigest = createDigestReader(client, (signal) =>
    mismatchOf(client, listed?.manifest, urlOf, signal),
  );

  return {
    async probe(signal, known) {
      signal.throwIfAborted();
      const name = names.find((each) => known?.startsWith(`${each} `)) ?? names[0];
      // With `auto` and nothing known yet there may be no manifest at all: the listing will tell.
      if (name === undefined || (known === undefined && init.manifest === "auto")) return undefined;
      const validator = known?.startsWith(`${name} `) ? known.slice(name.length + 1) : undefined;
      if (validator === undefined && init.manifest === "auto") return undefined;
      const response = await client.request(urlOf(name), {
        headers: ifNoneMatchHeaders(validator),
        operation: "probe",
        signal,
        expect: init.manifest === "auto" ? "any" : [200, 304],
      });
      await response.discard();
      if (response.status === 304 && known !== undefined) return { token: known };
      const now = response.status === 200 ? settledValidator(response) : undefined;
      return now === undefined ? undefined : { token: `${name} ${now}` };
    },

    async list(signal, scope) {
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
      const walk = { client, root: url, start: prefix, urlOf, context, absences, scope, signal };
      return { entries: below(prefix, walkIndex(walk)), ordered: false };
    },

    async read(entry, range, signal) {
      const file = urlOf(prefix + entry.path);
      if (entry.ref !== undefined || entry.digest === undefined) {
        try {
          return await readVersion(client, file, entry.ref, entry.size, range, signal);
        } catch (error) {
          if (!(error instanceof SourceError)) throw error;
          if (error.code === "not-found") absences.missed(prefix + entry.path);
          throw error.code === "auth" ? withExclude(error) : error;
        }
      }
      return readByDigest(entry, file, range, signal);
    },

    lane: () => init.lane(urlOf(prefix)),

    get ranges() {
      return listed?.ranges;
    },
    get contentAddressed() {
      return listed?.manifest !== undefined;
    },
    close: () => client.close(),
  };
}

/** Of a file that is not what the manifest says: either the manifest is old by now, or the content is wrong. */
async function mismatchOf(
  client: HttpClient,
  manifest: Listed["manifest"],
  urlOf: (file: string) => URL,
  signal: AbortSignal,
): Promise<SourceError> {
  const { name, validator } = manifest ?? {};
  const same =
    name !== undefined &&
    validator !== undefined &&
    (await inspect(client, urlOf(name), "read", signal, validator)) === undefined;
  return same
    ? new SourceError("invalid", "the file is not what the manifest says")
    : new SourceError("changed", "the file is no longer what was listed");
}

/** Of a file beside others that can be read. */
function withExclude({ code, message, hint, cause }: SourceError): SourceError {
  return new SourceError(code, message, { hint: `${hint}; --exclude leaves it out`, cause });
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
