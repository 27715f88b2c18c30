/** The manual page, in the language of man(7), made from the table of commands and that of flags. */
import { describeFlag, type Flag, FLAGS, flagName, type FlagName } from "./flags.ts";
import { COMMANDS } from "./command-table.ts";

/** By their number. docs/operations.md has the same. */
export const EXIT_CODES = [
  "success, also if there was nothing to do",
  "a bug in Pannier. Please report it with the printed lines",
  "usage or configuration; the target is not usable or in use; the source does not support the request",
  "sign-in or permission",
  "the source, its ref or its path does not exist",
  "the source is unreachable, or kept failing or changing; --timeout",
  "content refused: unsafe, damaged, over a limit, the delete guard; verify found a difference",
  "no room: disk, quota, --max-bytes",
  "a pre-publish hook rejected the revision: run --once, and the library",
  "published, but a post-publish hook failed for good: run --once",
];

export function manualPage(version: string): string {
  const used = [...new Set(COMMANDS.flatMap(({ flags }) => flags))].toSorted();
  const lines = [
    `.TH PANNIER 1 "" "pannier ${version}" "User Commands"`,
    ".SH NAME",
    String.raw`pannier \- keep a directory in sync with a source`,
    ".SH SYNOPSIS",
    String.raw`.B pannier`,
    ".I COMMAND",
    "[FLAGS] [ARGUMENTS]",
    ".SH COMMANDS",
    ...COMMANDS.flatMap(({ name, arguments: form, summary, details, flags, examples }) => [
      `.SS pannier ${escaped(`${name} ${form}`.trim())}`,
      escaped(sentence(summary)),
      ...(details === undefined
        ? []
        : details.split("\n").flatMap((line) => [".PP", escaped(line)])),
      ...(flags.length === 0
        ? []
        : [".PP", `Flags: ${flags.map((flag) => escaped(`--${flagName(flag)}`)).join(", ")}.`]),
      ".PP",
      ".nf",
      ...examples.map(escaped),
      ".fi",
    ]),
    ".SH FLAGS",
    "Each is also an environment variable:",
    String.raw`\-\-max\-bytes is PANNIER_MAX_BYTES.`,
    ...used.flatMap((name) => [
      ".TP",
      flagForm(name),
      escaped(sentence(describeFlag(FLAGS[name]))),
    ]),
    ".SH EXIT STATUS",
    ...EXIT_CODES.flatMap((meaning, code) => [".TP", String(code), escaped(sentence(meaning))]),
  ];
  return `${lines.join("\n")}\n`;
}

function flagForm(name: FlagName): string {
  const { placeholder }: Flag = FLAGS[name];
  const flag = String.raw`\fB${escaped(`--${flagName(name)}`)}\fR`;
  return placeholder === undefined ? flag : String.raw`${flag} \fI${escaped(placeholder)}\fR`;
}

const sentence = (text: string) => `${text.charAt(0).toUpperCase()}${text.slice(1)}.`;

/** man(7): a line that starts with `.` or `'` is a request, a backslash an escape, and `-` a hyphen that cannot be pasted. */
function escaped(text: string): string {
  return text
    .replaceAll("\\", String.raw`\e`)
    .replaceAll("-", String.raw`\-`)
    .replace(/^(?=[.'])/gm, String.raw`\&`);
}
