/** Names in the paths of URLs. Servers spell one and the same path in many ways: `/R&D/`, `/R%26D/`, `/R%26d/`. */
import { quotePath, SourceError } from "@pannier/core";

/**
 * The names that a URL's path is made of, decoded. Empty ones do not count. A `%` that begins no escape is taken as it is: there
 * are servers that write names as they are.
 *
 * @throws SourceError `invalid` where a name is not UTF-8, holds a slash, or is `.` or `..`
 */
export function namesOf(path: string): string[] {
  return segmentsOf(path).map(decoded);
}

/**
 * The names of a path below another one; `undefined` where it is not below. Empty where it is that path.
 *
 * @param fold true for a server that knows no case (IIS): it may write the base in its own
 * @throws SourceError as {@link namesOf}, of what is below
 */
export function namesBelow(
  path: string,
  base: readonly string[],
  fold = false,
): string[] | undefined {
  const segments = segmentsOf(path);
  const isBelow = base.every((name, index) => isName(segments[index], name, fold));
  return isBelow ? segments.slice(base.length).map(decoded) : undefined;
}

/** Whether a path leads to a place above, or is it. */
export function isAbove(path: string, names: readonly string[]): boolean {
  return segmentsOf(path).every((segment, index) => isName(segment, names[index]));
}

function segmentsOf(path: string): string[] {
  return path.split("/").filter((segment) => segment !== "");
}

function isName(segment: string | undefined, name: string | undefined, fold = false): boolean {
  if (segment === undefined) return false;
  const found = decode(segment);
  return found === name || (fold && found?.toLowerCase() === name?.toLowerCase());
}

/** `undefined` where it is not UTF-8. */
function decode(segment: string): string | undefined {
  try {
    return decodeURIComponent(segment.replaceAll(/%(?![0-9a-f]{2})/gi, "%25"));
  } catch {
    return undefined;
  }
}

function decoded(segment: string): string {
  const name = decode(segment);
  if (name === undefined) {
    throw new SourceError(
      "invalid",
      `the server lists a name that is not UTF-8: ${quotePath(segment)}`,
      { hint: "rename it" },
    );
  }
  if (name !== "." && name !== ".." && !name.includes("/")) return name;
  throw new SourceError(
    "invalid",
    `the server lists something that is not a file name: ${quotePath(name)}`,
  );
}
