/** Directory indexes as servers generate them: nginx (HTML and JSON), Apache (all forms), and others of their kind. */
import { SourceError } from "@pannier/core";
import type { HttpResponse } from "@pannier/http-client";
import { textOf } from "../lines.ts";
import { jsonObjects } from "./json-objects.ts";

/** One child of a directory, with what the index tells of it. */
export interface IndexItem {
  /** Decoded, without a slash. */
  readonly name: string;
  readonly directory: boolean;
  /** Exact size in bytes; `undefined` where none is given, or one in rounded units. */
  readonly size?: number | undefined;
  /** Date and size as they stand there: changes when the file does. `undefined`: the index tells neither. */
  readonly stamp?: string | undefined;
  readonly modified?: IndexTime | undefined;
}

interface IndexTime {
  /** Milliseconds since the epoch, taken as UTC. */
  readonly time: number;
  /** `second`: surely in UTC. `minute`: that exact, and in the server's zone. */
  readonly unit: "second" | "minute";
  /** True where it is UTC unless the server is set up otherwise (nginx). */
  readonly utc: boolean;
}

const MONTHS = "Jan Feb Mar Apr May Jun Jul Aug Sep Oct Nov Dec".split(" ");
const NGINX_JSON = { opening: /^\s*\[/, closing: /^\s*\]\s*$/ };
/** Apache, nginx and lighttpd; Python and others. */
const TITLE = /^\s*(index of|directory listing (for|of))\b/i;

/** Characters within which an index has shown its title. */
const TITLE_WITHIN = 64 * 1024;

/**
 * The children of a directory, in batches.
 *
 * @throws SourceError `unsupported` where the answer is a page, but no index; `invalid` where it is an incomplete one
 */
export async function* readIndex(response: HttpResponse): AsyncGenerator<IndexItem[]> {
  const type = response.headers["content-type"] ?? "";
  const text = textOf(response.body);
  if (/^application\/json\b/i.test(type)) {
    for await (const objects of jsonObjects(text, NGINX_JSON)) yield objects.map(jsonItem);
  } else if (/^(text\/html|application\/xhtml\+xml)\b/i.test(type)) {
    yield* htmlItems(text, response.url);
  } else {
    await response.discard();
    throw notAnIndex(response.url);
  }
}

function notAnIndex(url: URL): SourceError {
  return new SourceError("unsupported", `${url.pathname} is no directory index`, {
    hint: "have the server generate one (autoindex), or put a SHA256SUMS file there",
  });
}

/** @see https://nginx.org/en/docs/http/ngx_http_autoindex_module.html#autoindex_format */
function jsonItem({ name, type, mtime, size }: Record<string, unknown>): IndexItem {
  const time = Date.parse(String(mtime));
  if (typeof name !== "string" || (type !== "file" && type !== "directory")) {
    throw new SourceError("invalid", "the JSON index has an item without name or of unknown type");
  }
  if (name.includes("/") || name === "." || name === "..") {
    throw new SourceError("invalid", `the JSON index has the item ${JSON.stringify(name)}`);
  }
  if (type === "directory") return { name, directory: true };
  if (Number.isNaN(time) || !Number.isSafeInteger(size)) return { name, directory: false };
  return {
    name,
    directory: false,
    size: size as number,
    stamp: `${String(mtime)} ${String(size)}`,
    modified: { time, unit: "second", utc: true },
  };
}

async function* htmlItems(text: AsyncIterable<string>, url: URL): AsyncGenerator<IndexItem[]> {
  const { Parser } = await import("htmlparser2");
  let items: IndexItem[] = [];
  let link: { href: string; after: string } | undefined;
  let inside = "";
  let title = "";
  let complete = false;
  let seen = 0;

  const finish = () => {
    const item = link === undefined ? undefined : htmlItem(link.href, link.after, url);
    if (item !== undefined) items.push(item);
    link = undefined;
  };
  const parser = new Parser({
    onopentag(name, { href }) {
      inside = name;
      if (link !== undefined) link.after += " ";
      if (name !== "a" || href === undefined) return;
      // Apache's icons may be links as well: two for one file.
      if (href !== link?.href) finish();
      link = { href, after: "" };
    },
    ontext(data) {
      if (inside === "title" && title.length < 200) title += data;
      // The columns follow the link; a long description after them is of no use.
      if (inside !== "a" && link !== undefined && link.after.length < 200) link.after += data;
    },
    onclosetag(name, implied) {
      inside = "";
      if (name === "html" && !implied) complete = true;
    },
  });
  for await (const piece of text) {
    parser.write(piece);
    seen += piece.length;
    if (seen > TITLE_WITHIN && !TITLE.test(title)) throw notAnIndex(url);
    if (items.length > 0 && TITLE.test(title)) {
      yield items;
      items = [];
    }
  }
  parser.end();
  finish();
  if (!TITLE.test(title)) throw notAnIndex(url);
  if (!complete) throw new SourceError("invalid", `the index ${url.pathname} was cut short`);
  yield items;
}

/** `undefined` for links that do not lead to a child: to the parent, to other orders of the same page, to elsewhere. */
function htmlItem(href: string, after: string, page: URL): IndexItem | undefined {
  const directory = page.pathname.slice(0, page.pathname.lastIndexOf("/") + 1);
  const url = URL.parse(href, page);
  if (url === null || url.origin !== page.origin || href.startsWith("?") || url.search !== "") {
    return undefined;
  }
  if (!url.pathname.startsWith(directory)) return undefined;
  const [, segment = "", slash] = /^([^/]+)(\/?)$/.exec(url.pathname.slice(directory.length)) ?? [];
  if (segment === "") return undefined;
  const name = decodeSegment(segment);
  if (slash === "/") return { name, directory: true };
  return { name, directory: false, ...columns(after) };
}

function decodeSegment(segment: string): string {
  let name: string;
  try {
    name = decodeURIComponent(segment);
  } catch {
    throw new SourceError("invalid", `the index has a link ${segment}, whose name is not UTF-8`);
  }
  if (name.includes("/") || name === "." || name === "..") {
    throw new SourceError("invalid", `the index has a link ${segment}, which is no file's name`);
  }
  return name;
}

/** Date and size as nginx (`01-Feb-2025 10:20  123`), Apache (`2025-02-01 10:20  1.2K`) and lighttpd (`2025-Feb-01 10:20:30  1.2K`) have them. */
function columns(text: string): Pick<IndexItem, "size" | "stamp" | "modified"> {
  const [, date, clock = "", size = ""] =
    /^\s*(\d{4}-\d\d-\d\d|\d\d-[A-Z][a-z]{2}-\d{4}|\d{4}-[A-Z][a-z]{2}-\d\d)\s+(\d\d:\d\d)(?::\d\d)?\s+(-|[\d.]+(?:\s?[kKMGTP]i?B?)?)(?:\s|$)/.exec(
      text,
    ) ?? [];
  if (date === undefined || size === "-") return {};
  const parts = date.split("-");
  const nginx = parts[0]?.length === 2;
  const [year, month = "", day] = nginx ? parts.toReversed() : parts;
  const number = /^\d+$/.test(month) ? Number(month) : MONTHS.indexOf(month) + 1;
  const time = Date.parse(`${year}-${String(number).padStart(2, "0")}-${day}T${clock}:00Z`);
  if (Number.isNaN(time)) return {};
  return {
    size: /^\d+$/.test(size) ? Number(size) : undefined,
    stamp: text.trim().replaceAll(/\s+/g, " "),
    modified: { time, unit: "minute", utc: nginx },
  };
}
