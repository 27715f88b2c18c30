/** Which paths of a source are wanted. All patterns follow gitignore's rules, so `docs`, `*.html` and `/a/**` mean what they mean there. */
import ignore, { type Ignore } from "ignore";

/** Decides about a path relative to the tree's root. */
export type Filter = (path: string) => boolean;

/** The matcher remembers every path it was asked about; beyond this many it is made anew, so that memory stays flat. */
const MATCHER_LIFETIME = 20_000;

/** @param include empty: everything is wanted */
export function makeFilter(
  include: readonly string[],
  exclude: readonly string[],
): Filter | undefined {
  if (include.length === 0 && exclude.length === 0) return undefined;
  const included = include.length === 0 ? undefined : matcher(include);
  const excluded = exclude.length === 0 ? undefined : matcher(exclude);
  return (path) => (included === undefined || included(path)) && !(excluded?.(path) ?? false);
}

/** The filter that a source's own `.pannierignore` asks for; paths relative to the source's root. */
export function ignoreFileFilter(text: string): Filter {
  const matches = matcher(text);
  return (path) => !matches(path);
}

/** @param patterns one each, or a whole file of them */
function matcher(patterns: string | readonly string[]): Filter {
  let rules: Ignore | undefined;
  let asked = 0;
  return (path) => {
    if (rules === undefined || asked++ > MATCHER_LIFETIME) {
      rules = ignore({ allowRelativePaths: true, ignoreCase: false }).add(
        patterns as string | string[],
      );
      asked = 0;
    }
    return rules.ignores(path);
  };
}
