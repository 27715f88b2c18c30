/** Answers to PROPFIND (RFC 4918, 14.16), read as they come in. */
import { passing, SourceError } from "@pannier/core/adapter";

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
const DAV = "DAV:";

/** @throws SourceError `invalid` where it is not a multistatus, or not all of one */
export async function* parseMultistatus(
  body: AsyncIterable<Uint8Array>,
): AsyncGenerator<readonly Resource[]> {
  const { default: sax } = await import("sax");
  const parser = sax.parser(true, { xmlns: true });
  let done: Resource[] = [];
  let text = "";
  let resource: { -readonly [Name in keyof Resource]: Resource[Name] } | undefined;
  /** Properties of one propstat, which count only if its status is 200. */
  let found: Partial<Resource> = {};
  let status = 200;
  const path: string[] = [];
  let sawRoot = false;

  // oxlint-disable-next-line unicorn/prefer-add-event-listener -- sax knows no other way
  parser.onerror = (error) => {
    throw notDav(error);
  };
  // Entities could be made to grow; no answer needs any of its own.
  parser.ondoctype = () => {
    throw notDav();
  };
  parser.onopentag = (node) => {
    const name = "uri" in node && node.uri === DAV ? node.local : "?";
    path.push(name);
    if (path.length > MAX_DEPTH) throw notDav();
    text = "";
    if (path.length === 1) {
      if (name !== "multistatus") throw notDav();
      sawRoot = true;
    } else if (name === "response" && path.length === 2) {
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
  };
  const onText = (piece: string) => {
    text += piece;
    if (text.length > MAX_TEXT) throw notDav();
  };
  // oxlint-disable-next-line unicorn/prefer-add-event-listener -- sax knows no other way
  parser.ontext = onText;
  parser.oncdata = onText;
  parser.onclosetag = () => {
    const name = path.pop();
    const parent = path.at(-1);
    const value = text.trim();
    text = "";
    if (resource === undefined) return;
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
    } else if (name === "response" && path.length === 1) {
      if (resource.href === "") throw notDav();
      // Some servers say what a file is only by what it has.
      if (resource.collection === undefined && resource.size !== undefined)
        resource.collection = false;
      done.push(resource);
      resource = undefined;
    }
  };

  const decoder = new TextDecoder("utf-8", { fatal: true });
  let bytes = 0;
  for await (const chunk of passing(body)) {
    bytes += chunk.byteLength;
    parser.write(decode(decoder, chunk));
    if (done.length > 0) {
      yield done;
      bytes = 0;
    }
    if (bytes > MAX_RESPONSE) throw notDav();
    done = [];
  }
  parser.write(decode(decoder));
  if (!sawRoot || path.length > 0) throw notDav();
  parser.close();
}

function statusOf(line: string): number {
  return Number(/^HTTP\/\S+ (\d{3})/.exec(line)?.[1] ?? 0);
}

function decode(decoder: TextDecoder, chunk?: Uint8Array): string {
  try {
    return chunk === undefined ? decoder.decode() : decoder.decode(chunk, { stream: true });
  } catch (error) {
    throw notDav(error);
  }
}

function notDav(cause?: unknown): SourceError {
  return new SourceError(
    "invalid",
    "the server's answer to PROPFIND is not WebDAV, or not all of it",
    {
      hint: "check the path in the URL: servers have WebDAV below one of their own, such as /dav/ or /remote.php/dav/files/USER/",
      cause,
    },
  );
}
