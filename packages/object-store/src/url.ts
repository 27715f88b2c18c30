/** How keys and queries stand in URLs. Without anything of the main thread's, for lanes. */

/** Everything but letters, digits, `-`, `.`, `_` and `~` escaped, in UTF-8; slashes too. */
export function encode(text: string): string {
  return encodeURIComponent(text).replaceAll(
    /[!'()*]/g,
    (character) => `%${character.charCodeAt(0).toString(16).toUpperCase()}`,
  );
}

/** A key as it stands in a path: each segment with everything escaped but letters, digits, `-`, `.`, `_` and `~`. */
export function encodePath(key: string): string {
  return key.includes("/") ? key.split("/").map(encode).join("/") : encode(key);
}

/** A query in the one form that is signed: escaped in the same way, and sorted. What is `undefined` is left out. */
export function queryOf(parameters: Readonly<Record<string, string | undefined>>): string {
  return Object.entries(parameters)
    .flatMap(([name, value]) => (value === undefined ? [] : `${encode(name)}=${encode(value)}`))
    .toSorted()
    .join("&");
}
