/** Paths of entries: what is safe, and in which order they come. */

const encoder = new TextEncoder();

/**
 * Why a path must not be written below a target, or `undefined` when it may be.
 * Linux's own limits: 255 bytes a name, 4,095 bytes a path (limits.h NAME_MAX, PATH_MAX).
 */
export function unsafePath(path: string): string | undefined {
  if (path === "") return "is empty";
  if (path.includes("\0")) return "holds a NUL";
  if (path.startsWith("/")) return "is absolute";
  if (!path.isWellFormed()) return "is not valid Unicode";
  const long = path.length > 85; // Three bytes a UTF-16 unit at most: a short path needs no measuring.
  if (long && encoder.encode(path).length > 3800) return "is longer than 3,800 bytes";
  for (const segment of path.split("/")) {
    if (segment === "") return "holds an empty segment";
    if (segment === "." || segment === "..") return `holds a "${segment}" segment`;
    if (long && encoder.encode(segment).length > 255) return "holds a name longer than 255 bytes";
  }
  return undefined;
}

/** Whether a path would leave a directory that it is joined to, or names nothing: never to be accepted, wanted or not. */
export function escapes(path: string): boolean {
  return (
    path === "" || path.startsWith("/") || path.includes("\0") || /(?:^|\/)\.\.(?:\/|$)/.test(path)
  );
}

/**
 * Compares as UTF-8 bytes compare: the order of object stores, of git, and of SQLite's BINARY collation. JavaScript's own `<`
 * compares UTF-16 units, which differs where a surrogate meets U+E000 to U+FFFF.
 */
export function comparePaths(a: string, b: string): number {
  if (a === b) return 0;
  const length = Math.min(a.length, b.length);
  for (let i = 0; i < length; i++) {
    const x = a.charCodeAt(i);
    const y = b.charCodeAt(i);
    if (x === y) continue;
    if (x >= 0xd800 && y >= 0xd800) return sortKey(x) - sortKey(y);
    return x - y;
  }
  return a.length - b.length;
}

/** Moves surrogates (code points above U+FFFF) behind the rest of the basic plane. */
function sortKey(unit: number): number {
  return unit >= 0xe000 ? unit - 0x800 : unit + 0x2000;
}

/** The form under which two names are one on a file system that folds case or Unicode forms (HFS+, APFS, NTFS, vfat, casefold ext4). */
export function foldPath(path: string): string {
  return path.normalize("NFC").toLowerCase().normalize("NFC");
}

/** `a/b/c` → `a/b`; `a` → ``. */
export function parentOf(path: string): string {
  const slash = path.lastIndexOf("/");
  return slash === -1 ? "" : path.slice(0, slash);
}

/** What JSON leaves as it is though a terminal obeys it: DEL, the C1 controls, and marks that turn the direction of text. */
const OBEYED = /[\u007f-\u009f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069]/g;

/** A path as a message may show it: control characters escaped, in quotes. */
export function quotePath(path: string): string {
  return JSON.stringify(path.length > 300 ? `${path.slice(0, 300)}…` : path).replace(
    OBEYED,
    (character) => `\\u${character.charCodeAt(0).toString(16).padStart(4, "0")}`,
  );
}

/** A path as a list with one path a line shows it: quoted as JSON where a line break in it could look like the end of a line. */
export function plainOrQuoted(path: string): string {
  return /[\p{Cc}"]/u.test(path) ? JSON.stringify(path) : path;
}

/** Whether it is the name of something in a directory, which leads nowhere else. */
export function isPlainName(name: unknown): boolean {
  return typeof name === "string" && !/^\.{0,2}$|[/\0]/.test(name);
}
