/** Git's configuration files: https://git-scm.com/docs/git-config#_syntax */
import { SourceError } from "@pannier/core/adapter";

export interface Setting {
  /** In lower case, as keys are. */
  readonly section: string;
  readonly subsection: string | undefined;
  readonly key: string;
  readonly value: string;
}

const BLANK = /[^\S\n]*/y;
const HEADER = /\[([A-Za-z0-9.-]+)(?:[^\S\n]+"((?:[^"\\\n]|\\[^\n])*)")?\]/y;
const KEY = /([A-Za-z][A-Za-z0-9-]*)[^\S\n]*(=?)[^\S\n]*/y;
const COMMENT = /[#;][^\n]*/y;

/** @throws SourceError `invalid` where git could not read it either */
export function* readConfig(raw: string): Generator<Setting> {
  const text = raw.replace(/^\ufeff/, "").replaceAll("\r\n", "\n");
  let at = 0;
  const take = (pattern: RegExp): RegExpExecArray | null => {
    pattern.lastIndex = at;
    const match = pattern.exec(text);
    if (match !== null) at = pattern.lastIndex;
    return match;
  };
  let section = "";
  let subsection: string | undefined;
  for (;;) {
    take(BLANK);
    if (at === text.length) return;
    if (text[at] === "\n") {
      at++;
      continue;
    }
    if (take(COMMENT) !== null) continue;
    const header = take(HEADER);
    if (header !== null) {
      const [, name = "", quoted] = header;
      const dot = name.indexOf(".");
      // `[submodule.lib]`, the old form, has no case.
      const old = quoted === undefined && dot !== -1;
      section = (old ? name.slice(0, dot) : name).toLowerCase();
      subsection = old ? name.slice(dot + 1).toLowerCase() : quoted?.replace(/\\(.)/gs, "$1");
      continue;
    }
    const key = take(KEY);
    if (key === null) throw broken(text, at);
    const isFlag = key[2] === "";
    const value = isFlag ? { text: "", end: at } : readValue(text, at);
    at = value.end;
    if (!isFlag) take(COMMENT);
    if (at < text.length && text[at] !== "\n") throw broken(text, at);
    yield { section, subsection, key: (key[1] as string).toLowerCase(), value: value.text };
  }
}

const ESCAPES: Readonly<Record<string, string>> = {
  '"': '"',
  "\\": "\\",
  n: "\n",
  t: "\t",
  b: "\b",
  "\n": "",
};

/** To the end of the line or a comment; blanks at the end count only in quotes. */
function readValue(text: string, start: number): { readonly text: string; readonly end: number } {
  let value = "";
  let solid = 0;
  let quoted = false;
  let at = start;
  for (; at < text.length; at++) {
    const char = text[at] as string;
    if (char === "\n" || (!quoted && (char === "#" || char === ";"))) break;
    if (char === '"') {
      quoted = !quoted;
      solid = value.length;
      continue;
    }
    const escaped = char === "\\" ? ESCAPES[text[++at] ?? ""] : char;
    if (escaped === undefined) throw broken(text, at);
    value += escaped;
    if (quoted || char === "\\" || !/\s/.test(char)) solid = value.length;
  }
  if (quoted) throw broken(text, at);
  return { text: value.slice(0, solid), end: at };
}

function broken(text: string, at: number): SourceError {
  const line = text.slice(0, at).split("\n").length;
  return new SourceError(
    "invalid",
    `.gitmodules cannot be read: line ${line} is not git's syntax`,
    {
      hint: "set submodules=off, or repair .gitmodules",
    },
  );
}
