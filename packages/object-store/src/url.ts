/** How keys and queries stand in URLs. Without anything of the main thread's, for lanes. */

const PLAIN = /^[\w.~-]*$/;
const PLAIN_PATH = /^[\w.~/-]*$/;

/** Everything but letters, digits, `-`, `.`, `_` and `~` escaped, in UTF-8; slashes too. */
export function encode(text: string): string {
  if (PLAIN.test(text)) return text;
  return encodeURIComponent(text).replaceAll(
    /[!'()*]/g,
    (character) => `%${character.charCodeAt(0).toString(16).toUpperCase()}`,
  );
}

/** A key as it stands in a path: each segment with everything escaped but letters, digits, `-`, `.`, `_` and `~`. */
export function encodePath(key: string): string {
  if (PLAIN_PATH.test(key)) return key;
  return key.includes("/") ? key.split("/").map(encode).join("/") : encode(key);
}

/** A query in the one form that is signed: escaped in the same way, and sorted. What is `undefined` is left out. */
export function queryOf(parameters: Readonly<Record<string, string | undefined>>): string {
  return Object.entries(parameters)
    .flatMap(([name, value]) => (value === undefined ? [] : `${encode(name)}=${encode(value)}`))
    .toSorted()
    .join("&");
}

/**
 * The path of what is below a URL, as the URL class has it: of thousands of URLs that begin alike, only those with segments of dots need the class.
 *
 * @param base as the URL class has it, without a query
 * @param rest with everything escaped that is not plain
 */
export function pathBelow(base: string, rest: string): string {
  if (rest.includes("./") || rest.endsWith(".")) return new URL(base + rest).pathname;
  return base.slice(base.indexOf("/", base.indexOf("//") + 2)) + rest;
}
