/** What a link of a directory index leads to. A link that is overlooked is a file that is deleted: what is not surely no child is one, or an error. */
import { quotePath, SourceError } from "@pannier/core/adapter";
import { isAbove, namesBelow, namesOf, UnreadableName } from "@pannier/http-client";

/** Where an index page is. */
export interface PageUrls {
  /** What was asked for. */
  readonly asked: URL;
  /** Where the answer came from: another URL after a redirect. */
  readonly answered: URL;
}

/** What is below the page's directory. */
interface Below {
  /** Of which there are several where it is further down. */
  readonly names: readonly string[];
  readonly directory: boolean;
  /** True where the directory is written in another case, or is a root, below which everything is, and on another host. */
  readonly doubtful: boolean;
  /** Why it is not known what exactly it leads to. */
  readonly failure?: SourceError | undefined;
}

/**
 * `none`: surely not a child: the page itself in another order, a directory above, a mail address. `elsewhere`: outside of the
 * directory, as the link is written.
 */
export type Target = "none" | "elsewhere" | Below;

/** Schemes of links that lead to no file. */
const NO_FILE = /^(javascript|mailto|tel|sms|data|about|blob|magnet):/i;

/** A name in the page's own directory, most often: taking a URL apart costs ten times as much. */
const PLAIN = /^(?!\.{1,2}\/?$)[\w.~-]+\/?$/;

/** Parameters that show the same directory in another way, or pack it. Apache, nginx, Jetty, Tomcat, Caddy, rclone, and their kind. */
const SAME_CONTENT =
  /^([COFVNMSD]=[A-Z\d]|(sort|order|sortby|layout|view|theme|lang|download)(=.*)?)$/;

/**
 * Tells the links of one page apart.
 *
 * @throws SourceError `invalid` on a link of which it is not known whether it leads to a child, and if so, to which
 */
export function linkReader({ asked, answered }: PageUrls): {
  /** Takes over the page's own `<base href>`. */
  rebase(href: string): void;
  read(href: string): Target;
} {
  const folders = [asked, answered].map(({ pathname }) =>
    namesOf(pathname.slice(0, pathname.lastIndexOf("/") + 1)),
  );
  let base = answered;

  const findBelow = (path: string, fold: boolean) => {
    for (const folder of folders) {
      try {
        const names = namesBelow(path, folder, fold);
        if (names !== undefined) return { folder, names };
      } catch (error) {
        if (!(error instanceof UnreadableName)) throw error;
        return { folder, names: error.names, failure: error };
      }
    }
    return undefined;
  };
  const isAboveOf = (path: string) => folders.some((folder) => isAbove(path, folder));

  return {
    rebase(href) {
      base = URL.parse(href, answered) ?? base;
    },
    read(href) {
      if (base === answered && PLAIN.test(href)) {
        const directory = href.endsWith("/");
        return {
          names: [directory ? href.slice(0, -1) : href],
          directory,
          doubtful: false,
        };
      }
      if (href === "" || href.startsWith("#") || NO_FILE.test(href)) return "none";
      const url = URL.parse(href, base);
      if (url === null) throw unknownLink(href);
      if (!/^https?:$/.test(url.protocol)) {
        // A name with a colon in it would look so.
        if (!href.includes("/")) throw unknownLink(href);
        return "none";
      }
      const { pathname, hostname } = url;
      const exact = findBelow(pathname, false);
      // A server that knows no case may write the directory in its own.
      const found = exact ?? (isAboveOf(pathname) ? undefined : findBelow(pathname, true));
      if (found === undefined) return isAboveOf(pathname) ? "none" : "elsewhere";
      const { folder, names } = found;
      let failure: SourceError | undefined = found.failure;
      // What was not UTF-8 on the page.
      if (href.includes("\uFFFD")) failure ??= new UnreadableName(href, names);
      if (![asked.search, answered.search].includes(url.search) && !isHarmless(url)) {
        failure ??= unknownLink(href, names.length > 0);
      }
      if (names.length === 0) {
        if (failure !== undefined) throw failure;
        return "none";
      }
      const foreign = ![asked, answered].some((own) => own.hostname === hostname);
      return {
        names,
        directory: pathname.endsWith("/"),
        doubtful: exact === undefined || (foreign && folder.length === 0),
        failure,
      };
    },
  };
}

function isHarmless({ search }: URL): boolean {
  const parts = search.slice(1).split(/[&;]/);
  return parts.every((part) => part === "" || SAME_CONTENT.test(part));
}

function unknownLink(href: string, named = false): SourceError {
  return new SourceError(
    "invalid",
    `the index has a link that may or may not be a file: ${quotePath(href)}`,
    { hint: `put a SHA256SUMS file there${named ? ", or leave it out by --exclude" : ""}` },
  );
}
