/** Lines of listings. A line that cannot be read is an error: left out, it would stand for a deletion. */
import { quotePath, SourceError } from "@pannier/core";
import type { FileInfo } from "basic-ftp";
import { textOf } from "./names.ts";

/** One name of a directory. Names are bytes; see names.ts. */
export interface Line {
  readonly name: string;
  readonly kind: "file" | "directory" | "symlink" | "special";
  readonly size: number;
  readonly mode: number | undefined;
  /** Milliseconds; `undefined` where it has to be asked for. */
  readonly mtime: number | undefined;
  /** The time as the server writes it for people, where there is no better. */
  readonly written: string;
  /** Of a symlink, where the server tells. */
  readonly target: string | undefined;
}

/** `fact=value;fact=value; name`: RFC 3659, 7. */
export function parseMlsd(listing: string): Line[] {
  const lines: Line[] = [];
  for (const line of listing.split("\r\n")) {
    if (line === "") continue;
    const [, packed, name] = /^((?:[^=; ]+=[^;]*;)*) (.+)$/s.exec(line) ?? [];
    if (packed === undefined || name === undefined) throw unreadable(line);
    const facts = new Map(
      packed.split(";").map((fact): [string, string] => {
        const at = fact.indexOf("=");
        return [fact.slice(0, at).toLowerCase(), fact.slice(at + 1)];
      }),
    );
    const type = facts.get("type") ?? "";
    const kind = kindOf(type.toLowerCase());
    if (kind === undefined) continue;
    const size = Number(facts.get("size") ?? Number.NaN);
    if (kind === "file" && !Number.isSafeInteger(size)) throw unreadable(line);
    const mode = facts.get("unix.mode");
    lines.push({
      name,
      kind,
      size,
      mode: mode === undefined ? undefined : Number.parseInt(mode, 8) & 0o777,
      mtime: parseTime(facts.get("modify") ?? ""),
      written: "",
      target: kind === "symlink" ? /^[^:]*:(.+)$/s.exec(type)?.[1] : undefined,
    });
  }
  return lines;
}

/** `undefined` for the directory itself and the one above. */
function kindOf(type: string): Line["kind"] | undefined {
  if (type === "file") return "file";
  if (type === "dir") return "directory";
  if (type === "cdir" || type === "pdir") return undefined;
  return /^os\.unix=s(?:ym)?link\b/.test(type) ? "symlink" : "special";
}

/** `20251123074500.123`, in UTC: RFC 3659, 2.3. */
export function parseTime(text: string): number | undefined {
  const [, year, month, day, hour, minute, second, fraction = ""] =
    /^(\d{4})(\d\d)(\d\d)(\d\d)(\d\d)(\d\d)(\.\d{1,9})?/.exec(text.trim()) ?? [];
  if (year === undefined) return undefined;
  const whole = Date.UTC(
    +year,
    Number(month) - 1,
    Number(day),
    Number(hour),
    Number(minute),
    Number(second),
  );
  return whole + Math.round(Number(`0${fraction}`) * 1000);
}

/** What `ls -l` prints, or the same of DOS: parsed by basic-ftp, which knows the many forms. */
export function parseLs(listing: string, parse: (lines: string) => FileInfo[]): Line[] {
  const lines: Line[] = [];
  for (const line of listing.split(/\r?\n/)) {
    if (line.trim() === "" || /^total \d+$/.test(line)) continue;
    const info = readLine(line, parse);
    if (info === undefined) {
      // The directory itself and the one above are left out by the parser.
      if (/ \.{1,2}$/.test(line)) continue;
      throw unreadable(line);
    }
    const { user, group, world } = info.permissions ?? {};
    lines.push({
      name: info.name,
      kind: /^[bcps]/.test(line)
        ? "special"
        : info.isDirectory
          ? "directory"
          : info.isSymbolicLink
            ? "symlink"
            : "file",
      size: info.size,
      mode:
        user === undefined || group === undefined || world === undefined
          ? undefined
          : user * 64 + group * 8 + world,
      mtime: undefined,
      written: info.rawModifiedAt,
      target: info.link,
    });
  }
  return lines;
}

function readLine(line: string, parse: (lines: string) => FileInfo[]): FileInfo | undefined {
  try {
    return parse(line)[0];
  } catch (error) {
    throw unreadable(line, error);
  }
}

function unreadable(line: string, cause?: unknown): SourceError {
  return new SourceError(
    "invalid",
    `the server's listing has a line that cannot be read: ${quotePath(textOf(line))}`,
    {
      hint: "a name with a line break breaks listings: rename it",
      cause,
    },
  );
}
