/** Which paths of a source are wanted. All patterns follow gitignore's rules, so `docs`, `*.html` and `/a/**` mean what they mean there. */
import ignore, { type Ignore } from "ignore";

/** Decides about paths relative to the tree's root. */
export interface Filter {
  /** Whether a file is wanted. */
  wants(path: string): boolean;
  /** Whether anything below a directory may be wanted. May say so too often, never too rarely. */
  enters(directory: string): boolean;
}

/** One pattern each, or a whole file of them. */
type Rules = string | readonly string[];

/** The matcher remembers every path it was asked about; beyond this many it is recreated, so that memory stays flat. */
const MATCHER_LIFETIME = 20_000;

/** @param include empty: everything is wanted */
export function makeFilter(
  include: readonly string[],
  exclude: readonly string[],
): Filter | undefined {
  const rules: Filter[] = [];
  if (include.length > 0) rules.push(includeFilter(include));
  if (exclude.length > 0) rules.push(excludeFilter(exclude));
  return rules.length === 0 ? undefined : allOf(rules);
}

/** The filter that a source's own `.pannierignore` asks for; paths relative to the source's root. */
export function ignoreFileFilter(text: string): Filter {
  return excludeFilter(text);
}

function allOf(filters: readonly Filter[]): Filter {
  return {
    wants: (path) => filters.every((filter) => filter.wants(path)),
    enters: (directory) => filters.every((filter) => filter.enters(directory)),
  };
}

/** What a pattern takes with its directory cannot come back: as in gitignore, a `!` does not reach below. */
function excludeFilter(rules: Rules): Filter {
  const matches = matcher(rules);
  const covers = matcher(
    wholeDirectories(typeof rules === "string" ? rules.split(/\r?\n/) : rules),
  );
  return {
    wants: (path) => !matches(path),
    enters: (directory) => !matches(`${directory}/`) && !covers(`${directory}/`),
  };
}

/** `/lost+found/**` leaves nothing of the directory, though it does not name it; unless a `!` brings some of it back. */
function wholeDirectories(patterns: readonly string[]): readonly string[] {
  if (patterns.some((pattern) => pattern.startsWith("!"))) return [];
  return patterns.flatMap((pattern) => {
    if (pattern.startsWith("#")) return [];
    const directory = pattern.replace(/(?:\/\*\*)*\/\*\*?$/, "");
    if (directory === pattern || directory === "" || directory.endsWith("\\")) return [];
    // A slash in the middle had bound it to the root.
    return [directory.startsWith("/") ? `${directory}/` : `/${directory}/`];
  });
}

function includeFilter(patterns: readonly string[]): Filter {
  const matches = matcher(patterns);
  const ways = patterns.filter((pattern) => !/^(?:[!#]|$)/.test(pattern)).map(segmentsOf);
  return {
    wants: matches,
    enters(directory) {
      if (matches(`${directory}/`)) return true;
      const names = directory.split("/");
      return ways.some((segments) => leadsTo(names, segments));
    },
  };
}

/** A pattern from the root on; one that is bound to no place starts with `**`. */
function segmentsOf(pattern: string): readonly string[] {
  // Blanks count where a name ends, and not where the pattern does.
  const bare = pattern.trimEnd().replace(/\/$/, "");
  if (!bare.includes("/")) return ["**", bare];
  return bare.replace(/^\//, "").split("/");
}

/** Whether what the pattern matches may lie below the directory. */
function leadsTo(names: readonly string[], segments: readonly string[]): boolean {
  for (const [index, name] of names.entries()) {
    const segment = segments[index];
    if (segment === undefined || /^\*{2,}$/.test(segment)) return true;
    if (!mayMatch(segment, name)) return false;
  }
  return true;
}

function mayMatch(segment: string, name: string): boolean {
  // Ranges and escapes are the matcher's to understand: looked into, the directory shows.
  if (/[\\[]/.test(segment)) return true;
  const source = segment
    .replace(/[.+^${}()|\]]/g, "\\$&")
    .replace(/\*+/g, ".*")
    .replaceAll("?", ".");
  return new RegExp(`^${source}$`, "su").test(name);
}

function matcher(rules: Rules): (path: string) => boolean {
  let made: Ignore | undefined;
  let asked = 0;
  return (path) => {
    if (made === undefined || asked++ > MATCHER_LIFETIME) {
      made = ignore({ allowRelativePaths: true, ignoreCase: false }).add(
        rules as string | string[],
      );
      asked = 0;
    }
    return made.ignores(path);
  };
}
