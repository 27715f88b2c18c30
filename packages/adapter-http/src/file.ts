/** A source of one file. */
import { createHash } from "node:crypto";
import {
  type Digest,
  type FileEntry,
  type LaneSpec,
  type Source,
  SourceError,
} from "@pannier/core/adapter";
import { type HttpClient, inspect, isTimeFingerprint, readVersion } from "@pannier/http-client";
import {
  type ChecksumOption,
  createDigestReader,
  resolveChecksum,
  verified,
} from "@pannier/http-content";
import { entryByContent } from "./content.ts";

/** Names under which a page is what is wanted. Under any other, it is more likely one that asks to sign in, or that shows a repository. */
const PAGE = /\.(?:[px]?html?\d?|php\d?|[aj]spx?|cgi)$/i;

export interface FileSourceInit {
  readonly client: HttpClient;
  readonly url: URL;
  /** The entry's path. */
  readonly name: string;
  readonly checksum: ChecksumOption | undefined;
  /** Whether the user says that it is a file: `unpack=no`. */
  readonly surely: boolean;
  /** Makes a lane, if there may be one. */
  readonly lane: () => Promise<LaneSpec | undefined>;
}

export function fileSource(init: FileSourceInit): Source {
  const { client, url, name, checksum, surely } = init;
  let ranges = false;
  /** Where redirects led. */
  let place = url.href;
  // What the engine cannot check is checked while it is read, from its first byte to its last.
  const isCheckable = () =>
    checksum === undefined || ("hex" in checksum && checksum.algorithm === "sha256");
  const readByDigest = createDigestReader(client, async () =>
    checksum === undefined
      ? new SourceError("changed", "the file changed since it was listed")
      : new SourceError("invalid", "the file is not what its checksum says", {
          hint: "it was damaged, or replaced without its checksum",
        }),
  );
  return {
    probe: (signal, known) => probeUrl(client, url, signal, known),

    async list(signal) {
      const expected = await resolveChecksum(checksum, url, client, signal);
      const resource = await inspect(client, url, "list", signal);
      if (resource === undefined) throw new SourceError("invalid", "answered 304 to a plain GET");
      if (resource.url.pathname === `${url.pathname}/`) {
        throw new SourceError("unsupported", "this is a directory", {
          hint: 'end the URL with "/"',
        });
      }
      const { validator, size, mtime, mediaType } = resource;
      if (mediaType === "text/html" && !surely && expected === undefined && !PAGE.test(name))
        throw new SourceError("invalid", "this is a web page, not content", {
          hint: `for the repository that it shows write git+${url.protocol}//${url.host}${url.pathname}; for the page itself add unpack=no to the URL`,
        });
      ({ ranges } = resource);
      place = resource.url.href;
      const entry = (fingerprint: string, digest?: Digest): FileEntry => {
        return { kind: "file", path: name, size, mtime, fingerprint, digest, ref: validator };
      };
      const found =
        expected !== undefined
          ? entry(
              `${expected.algorithm}:${expected.hex}`,
              expected.algorithm === "sha256"
                ? { algorithm: "sha256", value: expected.hex }
                : undefined,
            )
          : resource.fingerprint !== undefined
            ? entry(fingerprintOf(resource.fingerprint, url))
            : await entryByContent(client, url, name, signal);
      return { entries: [[found]], ordered: true, token: () => resource.token };
    },

    async read(entry, range, signal) {
      if (entry.ref === undefined && entry.digest !== undefined) {
        return readByDigest(entry, url, range, signal);
      }
      const [algorithm = "", hex = ""] = entry.fingerprint.split(":", 2);
      const body = await readVersion(client, url, entry.ref, entry.size, range, signal);
      // The engine itself checks SHA-256; of a part, nothing can be checked.
      if (range !== undefined || !/^(sha512|sha1|md5)$/.test(algorithm)) return body;
      const checked = { algorithm: algorithm as "sha512" | "sha1" | "md5", hex };
      return verified(body instanceof Uint8Array ? oneChunk(body) : body, checked);
    },

    get ranges() {
      return ranges && isCheckable();
    },
    lane: async () => (isCheckable() && place === url.href ? init.lane() : undefined),
    close: () => client.close(),
  };
}

/** What one program makes of many queries may all have one date: then the query is part of what tells two contents apart. */
function fingerprintOf(fingerprint: string, { search }: URL): string {
  if (search === "" || !isTimeFingerprint(fingerprint)) return fingerprint;
  return `${fingerprint} ${createHash("sha256").update(search).digest("hex").slice(0, 16)}`;
}

/** The probe of whatever is one URL: one conditional GET. */
export async function probeUrl(
  client: HttpClient,
  url: URL,
  signal: AbortSignal,
  known: string | undefined,
): Promise<{ token: string } | undefined> {
  const resource = await inspect(client, url, "probe", signal, known);
  const token = resource === undefined ? known : resource.token;
  return token === undefined ? undefined : { token };
}

async function* oneChunk(bytes: Uint8Array): AsyncGenerator<Uint8Array> {
  yield bytes;
}
