/** Lines of listings. A line that cannot be read is an error: left out, it would stand for a deletion. */
import { quotePath, SourceError } from "@pannier/core/adapter";
import type { FileInfo } from "basic-ftp";
import { textOf } from "./names.ts";
import { bytesOf } from "./path.ts";
import { parseTime } from "./time.ts";

/** One name of a directory. Names are bytes; see names.ts. */
export interface Line {
  readonly name: string;
  /** `special` only where the server says so: a device, a FIFO, a socket. `unknown` has to be asked about. */
  readonly kind: "file" | "directory" | "symlink" | "special" | "unknown";
  /** `undefined` where it has to be asked for. */
  readonly size: number | undefined;
  readonly mode: number | undefined;
  /** Milliseconds; `undefined` where it has to be asked for. */
  readonly mtime: number | undefined;
  /** The time as the server writes it for people, where there is no better. */
  readonly written: string;
  /** Of a symlink, where the server tells. */
  readonly target: string | undefined;
}

/** `undefined` for a line that stands for nothing below the directory: itself, the one above, a sum. */
export type ParseLine = (line: string) => Line | undefined;

/** `fact=value;fact=value; name`: RFC 3659, 7. */
export function parseMlsdLine(line: string): Line | undefined {
  const [, packed, name] = /^((?:[^=; ]+=[^;]*;)*) (.+)$/s.exec(line) ?? [];
  if (packed === undefined || name === undefined) throw unreadable(line);
  const facts = new Map(
    packed.split(";").map((fact): [string, string] => {
      const at = fact.indexOf("=");
      return [fact.slice(0, at).toLowerCase(), fact.slice(at + 1)];
    }),
  );
  const type = facts.get("type") ?? "";
  const kind = kindOfFact(type.toLowerCase());
  if (kind === undefined || name === "." || name === "..") return undefined;
  const size = facts.get("size");
  if (size !== undefined && !/^\d{1,15}$/.test(size) && kind !== "directory") {
    throw unreadable(line);
  }
  const mode = facts.get("unix.mode");
  return {
    name,
    kind,
    size: size === undefined ? undefined : Number(size),
    mode:
      mode === undefined || !/^[0-7]+$/.test(mode) ? undefined : Number.parseInt(mode, 8) & 0o777,
    mtime: parseTime(facts.get("modify") ?? ""),
    written: "",
    target: kind === "symlink" ? /^[^:]*:(.+)$/s.exec(type)?.[1] : undefined,
  };
}

/**
 * Beside `file` and `dir` the RFC has only an example, `OS.unix=slink:/foobar`, and servers their own.
 *
 * @returns `undefined` for the directory itself and the one above
 */
function kindOfFact(type: string): Line["kind"] | undefined {
  if (type === "file") return "file";
  if (type === "dir") return "directory";
  if (type === "cdir" || type === "pdir") return undefined;
  const [, name = ""] = /^os\.[a-z]+=([a-z]+)/.exec(type) ?? [];
  if (/^(?:slink|symlink|link)$/.test(name)) return "symlink";
  return /^(?:chr|char|blk|block|device|fifo|pipe|sock|socket|door)/.test(name)
    ? "special"
    : "unknown";
}

/**
 * What `ls -l` prints, or the same of DOS: parsed by basic-ftp, which knows the many forms; and what it does not know.
 *
 * @param here the directory's path with a `/` at the end: some servers put it before each name
 */
export function lsParser(parse: (lines: string) => FileInfo[], here: string): ParseLine {
  return (raw) => {
    if (raw.trim() === "" || isSum(raw)) return undefined;
    // Marks of SELinux (`.`) and of macOS (`@`), which basic-ftp knows as little as a `+` without a blank behind it.
    const line = raw.replace(/^([a-zA-Z-][-rwxsStTlL]{9})[.@+]/, "$1 ");
    const found = readLine(line, parse) ?? readOther(line);
    if (found === undefined) {
      // The directory itself and the one above are left out by the parser.
      if (!line.startsWith("total") && / \.{1,2}$/.test(line)) return undefined;
      throw unreadable(raw);
    }
    const name = found.name.startsWith(here) ? found.name.slice(here.length) : found.name;
    return name === "." || name === ".." ? undefined : { ...found, name };
  };
}

/** Of what GNU's ls puts before the files: "total 8" in the languages that it speaks. */
const SUMS = new Set(
  (
    "total totale totaal totalt insgesamt yhteensä razem celkem spolu összesen итого всього общо укупно " +
    "ukupno skupaj σύνολο toplam 合計 总用量 总计 總計 합계 guztira iomlán kokku jumlah tổng"
  )
    .split(" ")
    .map(bytesOf),
);

function isSum(line: string): boolean {
  const word = /^([^\s:]+):? +[\d.,]+ ?(?:[kKMGT]?i?B?|blocks)$/.exec(line)?.[1];
  return word !== undefined && SUMS.has(word.replace(/[A-Z]/g, (letter) => letter.toLowerCase()));
}

function readLine(line: string, parse: (lines: string) => FileInfo[]): Line | undefined {
  let info: FileInfo | undefined;
  try {
    info = parse(line)[0];
  } catch {
    return undefined;
  }
  // It takes what begins with a blank, or has a `=`, for a name without anything else.
  const isDos = /^\d\d\S*\s+\S+\s+(?:<DIR>|\d+)\s/.test(line);
  const type = /^[\s\d]*([a-zA-Z-])[-rwxsStTlL]{9}/.exec(line)?.[1];
  if (info === undefined || (!isDos && type === undefined)) return undefined;
  const { user, group, world } = info.permissions ?? {};
  const kind = type === undefined ? (info.isDirectory ? "directory" : "file") : kindOfLetter(type);
  return {
    ...(kind === "symlink" ? splitLink(info) : { name: info.name, target: undefined }),
    kind,
    size: info.size,
    mode:
      user === undefined || group === undefined || world === undefined
        ? undefined
        : user * 64 + group * 8 + world,
    mtime: undefined,
    written: info.rawModifiedAt,
  };
}

function kindOfLetter(letter: string): Line["kind"] {
  switch (letter) {
    case "-":
    case "f":
      return "file";
    case "d":
      return "directory";
    case "l":
    case "e": // An external link of z/OS.
      return "symlink";
    case "b":
    case "c":
    case "p":
    case "s":
    case "D": // A door of Solaris.
      return "special";
    default:
      return "unknown";
  }
}

/** Of a symlink the size is its target's: that tells which arrow is meant where there are several. */
function splitLink({ name, link, size }: { name: string; link?: string; size: number }) {
  const whole = link === undefined ? name : `${name} -> ${link}`;
  const byTheSize = whole.length - size - " -> ".length;
  const at =
    whole.startsWith(" -> ", byTheSize) && byTheSize > 0 ? byTheSize : whole.indexOf(" -> ");
  if (at <= 0) return { name: whole, target: undefined };
  return { name: whole.slice(0, at), target: whole.slice(at + 4) };
}

/** What no byte of ASCII is, and letters. */
const LETTER = String.raw`[A-Za-z\x80-\xff]`;
const ABOVE = String.raw`[\x80-\xff]`;
const YEAR_OR_TIME = String.raw`(?:\d{4}|\d{1,2}[:.]\d\d(?::\d\d \d{4})?)`;
/** Dates as `ls` and servers write them in other places and languages. */
const DATE = [
  // "Mär 01  2026", "janv. 1 10:20", "Jan 01 10:20:30 2026"
  String.raw`${LETTER}{2,30}\.? {1,2}\d{1,2}[.,]? {1,2}${YEAR_OR_TIME}`,
  // "1. Jan 2026", " 1 janv. 10:20"
  String.raw`\d{1,2}\.? {1,2}${LETTER}{2,30}[.,]? {1,2}${YEAR_OR_TIME}`,
  // "2026-01-01 10:20", "2026-01-01 10:20:30.000000000 +0100"
  String.raw`\d{4}[-/.]\d\d?[-/.]\d\d? +\d{1,2}:\d\d(?::\d\d(?:\.\d{1,9})?)?(?: [+-]\d{4})?`,
  // "01-01 10:20", "01.01.2026 10:20", "01/01 2026"
  String.raw`\d\d?[-/.]\d\d?(?:[-/.]\d{2,4})? +(?:\d{1,2}:\d\d(?::\d\d)?|\d{4})`,
  // "1月  1 10:20", "1月 1日 10:20", "1월 1일 2026년"
  String.raw`\d{1,2}${ABOVE}{1,6} {0,2}\d{1,2}${ABOVE}{0,6} {1,2}(?:\d{4}${ABOVE}{0,6}|\d{1,2}:\d\d)`,
].join("|");
/** Type and permissions, owners, size (or the numbers of a device), date, name. Nothing in it may be of any length. */
const UNIX = new RegExp(
  String.raw`^([a-zA-Z-])([-rwxsStTlL]{9}) {0,4}(?:\d{1,10} +)?(?:.{0,200}? )?(?:\d{1,9}, {0,9})?(\d{1,15}) {1,20}(${DATE}) (.+)$`,
  "s",
);
const DIRECTORY = new RegExp(String.raw`^d([-rwxsStTlL]{9}) .{0,200}? (${DATE}) (.+)$`, "s");
const NETWARE = new RegExp(
  String.raw`^([d-]) \[[-A-Z]{8}\] +\S{1,64} +(\d{1,15}) +(${DATE}) (.+)$`,
  "s",
);
const IBM_I =
  /^\S{1,10} +(?:(\d{1,15}) +)?(\d\d\/\d\d\/\d\d +\d\d:\d\d:\d\d) +\*(STMF|DOC|DIR|DDIR|FLR) +(.+)$/s;
const NOTHING = {
  size: undefined,
  mode: undefined,
  mtime: undefined,
  written: "",
  target: undefined,
};

/** What basic-ftp does not know. */
function readOther(line: string): Line | undefined {
  return readUnix(line) ?? readNetware(line) ?? readIbm(line) ?? readEplf(line);
}

function readUnix(line: string): Line | undefined {
  const [, letter, bits, length, written, name] = UNIX.exec(line) ?? [];
  if (letter === undefined || bits === undefined || written === undefined || name === undefined) {
    const directory = DIRECTORY.exec(line)?.[3];
    return directory === undefined ? undefined : { ...NOTHING, kind: "directory", name: directory };
  }
  const kind = kindOfLetter(letter);
  const size = Number(length);
  const named = kind === "symlink" ? splitLink({ name, size }) : { name };
  return { ...NOTHING, ...named, kind, size, mode: modeOf(bits), written };
}

function readNetware(line: string): Line | undefined {
  const [, letter, size, written, name] = NETWARE.exec(line) ?? [];
  if (written === undefined || name === undefined) return undefined;
  const kind = letter === "d" ? "directory" : "file";
  return { ...NOTHING, kind, size: Number(size), written, name };
}

function readIbm(line: string): Line | undefined {
  const [, size, written, type = "", name] = IBM_I.exec(line) ?? [];
  if (written === undefined || name === undefined) return undefined;
  const kind = /^(?:STMF|DOC)$/.test(type) ? "file" : "directory";
  const bytes = size === undefined ? undefined : Number(size);
  return { ...NOTHING, kind, size: bytes, written, name: name.replace(/\/$/, "") };
}

/** https://cr.yp.to/ftp/list/eplf.html */
function readEplf(line: string): Line | undefined {
  const [, all, name] = /^\+([^\t]*)\t(.+)$/s.exec(line) ?? [];
  if (all === undefined || name === undefined) return undefined;
  const facts = all.split(",");
  const fact = (letter: string) => facts.find((one) => one.startsWith(letter))?.slice(1);
  const kind = facts.includes("/") ? "directory" : facts.includes("r") ? "file" : "unknown";
  const [size, seconds, mode] = [fact("s"), fact("m"), fact("up")];
  return {
    name,
    kind,
    size: size === undefined ? undefined : Number(size),
    mode: mode === undefined ? undefined : Number.parseInt(mode, 8) & 0o777,
    mtime: undefined,
    written: seconds ?? "",
    target: undefined,
  };
}

/** `rwxr-x---` */
function modeOf(bits: string): number {
  return [...bits].reduce((mode, bit, at) => {
    const set = at % 3 === 2 ? /[xst]/.test(bit) : bit !== "-";
    return mode * 2 + (set ? 1 : 0);
  }, 0);
}

function unreadable(line: string): SourceError {
  return new SourceError(
    "invalid",
    `the server's listing has a line that cannot be read: ${quotePath(textOf(line))}`,
    {
      hint: "a name with a line break breaks listings: rename it; if it is the server's own way to list, please report the line",
    },
  );
}
