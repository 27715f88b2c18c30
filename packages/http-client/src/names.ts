/** Names in the paths of URLs. Servers spell one and the same path in many ways: `/R&D/`, `/R%26D/`, `/R%26d/`. */
import { quotePath, SourceError } from "@pannier/core/adapter";

/**
 * The names that a URL's path is made of, decoded. Empty ones do not count. A `%` that begins no escape is taken as it is: there
 * are servers that write names as they are.
 *
 * @throws UnreadableName where a name is not UTF-8, SourceError `invalid` where one holds a slash, or is `.` or `..`
 */
export function namesOf(path: string): string[] {
  return allDecoded(segmentsOf(path));
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
  return isBelow ? allDecoded(segments.slice(base.length)) : undefined;
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

/** A name that is not UTF-8. Where what it stands for is not wanted, that does not matter. */
export class UnreadableName extends SourceError {
  /** The names as far as they can be read, with U+FFFD for what cannot. */
  readonly names: readonly string[];

  /** @param shown as the server writes it */
  constructor(shown: string, names: readonly string[]) {
    super("invalid", `the server lists a name that is not UTF-8: ${quotePath(shown)}`, {
      hint: "rename it, or leave it out by --exclude",
    });
    this.names = names;
  }
}

function allDecoded(segments: readonly string[]): string[] {
  const names = segments.map((segment) => checked(decode(segment) ?? lossyName(segment)));
  const unreadable = segments.find((segment) => decode(segment) === undefined);
  if (unreadable !== undefined) throw new UnreadableName(unreadable, names);
  return names;
}

/** A name with escapes of which some are not UTF-8, as far as it is: with U+FFFD for the rest. */
export function lossyName(segment: string): string {
  const bytes = segment.replaceAll(/%([0-9a-f]{2})|[^]/giu, (found, hex?: string) =>
    hex === undefined
      ? Buffer.from(found).toString("latin1")
      : String.fromCharCode(Number.parseInt(hex, 16)),
  );
  return Buffer.from(bytes, "latin1").toString("utf8");
}

function checked(name: string): string {
  if (name !== "." && name !== ".." && !name.includes("/")) return name;
  throw new SourceError(
    "invalid",
    `the server lists something that is not a file name: ${quotePath(name)}`,
  );
}
