/** Directory indexes in HTML: Apache, nginx, lighttpd, IIS, Jetty, Tomcat, Python, Go and others. */
import { makePause, quotePath, SourceError } from "@pannier/core/adapter";
import { columns } from "./columns.ts";
import { type IndexItem, notAnIndex } from "./item.ts";
import { linkReader, type PageUrls } from "./link.ts";

const TITLE = /^(index of|directory listing (for|of)|listing directory|directory:)/i;
/** Characters within which an index has shown what it is; serve-index has all its icons before that. */
const TITLE_WITHIN = 256 * 1024;
/** No tag is longer, and no index has more between two links. */
const LONGEST_TAG = 256 * 1024;
const LONGEST_GAP = 8 * 1024 * 1024;
/** What links are found in that are not of the listing: who made the server. */
const FOOTERS: ReadonlySet<string> = new Set(["address", "footer"]);
/** All that Go's file server writes. */
const BARE: ReadonlySet<string> = new Set(["meta", "pre", "a"]);

interface Link {
  readonly href: string;
  readonly directory: boolean;
  /** What follows it, up to the next one: the columns. */
  after: string;
}

export async function* htmlItems(
  text: AsyncIterable<string>,
  page: PageUrls,
): AsyncGenerator<IndexItem[]> {
  const { Parser } = await import("htmlparser2");
  const reader = readMarkup(page);
  const parser = new Parser(reader.events);
  let seen = 0;
  let tag = 0;
  let gap = 0;
  for await (const piece of inSlices(text)) {
    const before = reader.counts();
    parser.write(piece);
    const now = reader.counts();
    seen += piece.length;
    tag = now.events === before.events ? tag + piece.length : 0;
    gap = now.links === before.links ? gap + piece.length : 0;
    const mayBeIndex = reader.isIndex() || seen <= TITLE_WITHIN;
    if (tag > LONGEST_TAG || gap > LONGEST_GAP || !mayBeIndex) throw notAnIndex(page.asked);
    const items = reader.isIndex() ? reader.rows.take() : [];
    if (items.length > 0) yield items;
  }
  parser.end();
  if (!reader.end()) {
    throw new SourceError("invalid", `the index ${page.asked.pathname} was cut short`);
  }
  yield* reader.rows.end();
}

/** Follows the tags of a page: what it is, and its links. */
function readMarkup(page: PageUrls) {
  const links = linkReader(page);
  const rows = gatherRows(page, links);
  let link: Link | undefined;
  let inside = "";
  let title = "";
  /** Whether the title is an index's; `undefined` before it has come. */
  let titled: boolean | undefined;
  /** Whether a link came before the page had shown that it is an index. */
  let early = false;
  let footers = 0;
  let bare = true;
  let complete = false;
  let events = 0;
  let found = 0;

  const isIndex = () => titled ?? (bare && found > 0);
  const finish = () => {
    if (link === undefined) return;
    const finished = link;
    link = undefined;
    found++;
    if (isIndex()) rows.add(finished);
    else early = true;
  };
  return {
    rows,
    isIndex,
    counts: () => ({ events, links: found }),
    /**
     * @returns whether the page is complete
     * @throws SourceError `unsupported` where it is not an index
     */
    end(): boolean {
      finish();
      if (early || !(titled ?? (bare && complete))) throw notAnIndex(page.asked);
      return complete;
    },
    events: {
      onopentag(name: string, { href, class: classes }: Readonly<Record<string, string>>) {
        events++;
        inside = name;
        bare &&= BARE.has(name);
        if (FOOTERS.has(name)) footers++;
        if (name === "base" && href !== undefined) links.rebase(href);
        if (link !== undefined) link.after += " ";
        if (name !== "a" || href === undefined || footers > 0) return;
        // Apache's icons may be links as well: two for one file.
        if (href !== link?.href) finish();
        // serve-index writes no slash.
        link = { href, directory: /\bicon-directory\b/.test(classes ?? ""), after: "" };
      },
      ontext(data: string) {
        events++;
        if (inside === "title" && title.length < LONGEST_TITLE) title += data;
        if (inside !== "a" && data.trim() !== "") bare = false;
        // The columns follow the link; a long description after them is of no use.
        if (inside !== "a" && link !== undefined && link.after.length < 200) link.after += data;
      },
      onclosetag(name: string, implied: boolean) {
        events++;
        inside = "";
        if (name === "title") titled ??= isIndexTitle(title, page);
        if (FOOTERS.has(name)) footers--;
        if (name === (bare ? "pre" : "html") && !implied) complete = true;
      },
    },
  };
}

/** What the links of a page stand for. */
function gatherRows(page: PageUrls, links: ReturnType<typeof linkReader>) {
  let items: IndexItem[] = [];
  const directories = new Set<string>();
  /** What is further down, by its path. */
  const deep = new Map<string, IndexItem>();
  let added = 0;
  let children = 0;
  let elsewhere: string | undefined;

  return {
    add({ href, directory, after }: Link): void {
      added++;
      if (added - children > MOST_OTHERS) {
        throw new SourceError("invalid", "the index has too many links that lead to nothing");
      }
      const target = links.read(href);
      if (target === "none") return;
      const shown = columns(after);
      if (target === "elsewhere") {
        // A row of the listing.
        if (shown.stamp !== undefined) throw outside(href, page.asked);
        elsewhere ??= href;
        return;
      }
      const [name = "", ...deeper] = target.names;
      const { doubtful, failure } = target;
      const kind = directory || target.directory ? "directory" : "file";
      if (kind === "directory" && deeper.length === 0 && directories.has(name)) return;
      children++;
      if (deeper.length > 0) {
        if (deep.size === MOST_DEEP)
          throw new SourceError("invalid", "the index is not of one directory");
        const path = target.names.join("/");
        deep.set(path, { name: path, kind, doubtful: true, failure });
      } else if (kind === "directory") {
        directories.add(name);
        items.push({ name, kind, doubtful, failure });
      } else items.push({ name, kind, doubtful, failure, ...shown });
    },
    /** The items since this was last called. */
    take(): IndexItem[] {
      const taken = items;
      items = [];
      return taken;
    },
    *end(): Generator<IndexItem[]> {
      // Nothing that it shows is here: the server takes this directory for another one.
      if (children === 0 && elsewhere !== undefined) throw outside(elsewhere, page.asked);
      yield items;
      // A page may speak of files further down. Those of a directory that it lists are found there.
      yield [...deep.values()].filter(
        ({ name }) => !directories.has(name.split("/", 1)[0] as string),
      );
    },
  };
}

/** Links of a page that lead further down, and those that lead to nothing new. */
const MOST_DEEP = 10_000;
const MOST_OTHERS = 100_000;
/** Characters that are parsed in one go. */
const SLICE = 16 * 1024;

/** A large page must not hold up all others. */
async function* inSlices(text: AsyncIterable<string>): AsyncGenerator<string> {
  const pause = makePause();
  for await (const piece of text) {
    for (let at = 0; at < piece.length; at += SLICE) {
      yield piece.slice(at, at + SLICE);
      await pause();
    }
  }
}

const LONGEST_TITLE = 8 * 1024;

/** By what it says, or because it is just the path, as IIS (`host - /path/`) and rclone have it. */
function isIndexTitle(text: string, { asked, answered }: PageUrls): boolean {
  const title = text.trim();
  if (TITLE.test(title)) return true;
  const path = /^(?:\S+ - )?(\/.*)$/s.exec(title)?.[1];
  return path !== undefined && [asked, answered].some((url) => samePath(path, url));
}

function samePath(shown: string, { pathname }: URL): boolean {
  try {
    return comparable(shown) === comparable(decodeURIComponent(pathname));
  } catch {
    return false;
  }
}

function comparable(path: string): string {
  return path.split("/").filter(Boolean).join("/").toLowerCase();
}

function outside(href: string, { pathname }: URL): SourceError {
  return new SourceError(
    "invalid",
    `the index ${quotePath(pathname)} lists an entry outside of its directory: ${quotePath(href)}`,
    { hint: "a proxy in front of the server may have to leave paths as they are" },
  );
}
