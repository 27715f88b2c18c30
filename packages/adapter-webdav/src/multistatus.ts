/** Answers to PROPFIND (RFC 4918, 14.16), read as they come in. */
import { SourceError } from "@pannier/core/adapter";
import { readXml } from "@pannier/http-client";

/** What a server says of one of its resources. */
export interface Resource {
  /** As it stands there: a path or a URL, percent-encoded. */
  readonly href: string;
  /** Of the resource as a whole, where something is wrong with it. */
  readonly status: number | undefined;
  /** `undefined` where the server does not tell. */
  readonly collection: boolean | undefined;
  readonly size: number | undefined;
  /** An HTTP date. */
  readonly modified: string | undefined;
  readonly etag: string | undefined;
}

/** Characters of one value: more than any path or ETag has. */
const MAX_TEXT = 64 * 1024;
/** Bytes of one response: a few properties of one resource. */
const MAX_RESPONSE = 4 << 20;
/** Elements within each other: a property may be any XML. */
const MAX_DEPTH = 64;

/** @throws SourceError `invalid` where it is not a multistatus, or not all of one */
export async function* parseMultistatus(
  body: AsyncIterable<Uint8Array>,
): AsyncGenerator<readonly Resource[]> {
  let done: Resource[] = [];
  let resource: { -readonly [Name in keyof Resource]: Resource[Name] } | undefined;
  /** Properties of one propstat, which count only if its status is 200. */
  let found: Partial<Resource> = {};
  let status = 200;

  const chunks = readXml(body, {
    namespace: "DAV:",
    maxDepth: MAX_DEPTH,
    invalid: (_, cause) => notDav(cause),
    open(path) {
      const name = path.at(-1);
      if (path.length === 1 && name !== "multistatus") throw notDav();
      if (name === "response" && path.length === 2) {
        resource = {
          href: "",
          status: undefined,
          collection: undefined,
          size: undefined,
          modified: undefined,
          etag: undefined,
        };
      } else if (name === "propstat") {
        found = {};
        status = 200;
      } else if (name === "collection" && path.at(-2) === "resourcetype") {
        found = { ...found, collection: true };
      } else if (name === "resourcetype" && path.at(-2) === "prop") {
        found = { ...found, collection: false };
      }
    },
    close(path, text) {
      if (text.length > MAX_TEXT) throw notDav();
      if (resource === undefined) return;
      const name = path.at(-1);
      const parent = path.at(-2);
      const value = text.trim();
      if (parent === "response") {
        // Several may share a status; then none of them tells what it is.
        if (name === "href") resource.href ||= value;
        else if (name === "status") resource.status = statusOf(value);
        else if (name === "propstat" && status === 200) Object.assign(resource, found);
      } else if (parent === "propstat") {
        if (name === "status") status = statusOf(value);
      } else if (parent === "prop") {
        if (name === "getcontentlength" && /^\d{1,15}$/.test(value))
          found = { ...found, size: Number(value) };
        else if (name === "getlastmodified" && value !== "") found = { ...found, modified: value };
        else if (name === "getetag" && value !== "") found = { ...found, etag: value };
      } else if (name === "response" && path.length === 2) {
        if (resource.href === "") throw notDav();
        // Some servers say what a file is only by what it has.
        if (resource.collection === undefined && resource.size !== undefined)
          resource.collection = false;
        done.push(resource);
        resource = undefined;
      }
    },
  });
  let bytes = 0;
  for await (const size of chunks) {
    bytes += size;
    if (done.length > 0) {
      yield done;
      bytes = 0;
    }
    if (bytes > MAX_RESPONSE) throw notDav();
    done = [];
  }
}

function statusOf(line: string): number {
  return Number(/^HTTP\/\S+ (\d{3})/.exec(line)?.[1] ?? 0);
}

function notDav(cause?: unknown): SourceError {
  return new SourceError(
    "invalid",
    "the server's answer to PROPFIND is not WebDAV, or is incomplete",
    {
      hint: "check the path in the URL: servers have WebDAV below one of their own, such as /dav/ or /remote.php/dav/files/USER/",
      cause,
    },
  );
}
