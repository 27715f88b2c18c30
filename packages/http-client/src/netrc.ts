/** `.netrc`, as curl and git read it: tokens `machine`, `default`, `login`, `password`, `account`, `macdef`. */

export interface NetrcEntry {
  readonly login: string | undefined;
  readonly password: string | undefined;
  /** True for the entry that `default` begins. */
  readonly isDefault: boolean;
}

/**
 * The first entry for a host, else the `default` entry.
 *
 * @param login where the URL names a user: only that user's entry counts
 */
export function findNetrcEntry(text: string, host: string, login?: string): NetrcEntry | undefined {
  return parse(text)
    .filter((entry) => entry.machine === undefined || entry.machine === host)
    .filter((entry) => login === undefined || entry.login === undefined || entry.login === login)
    .toSorted((a, b) => Number(a.machine === undefined) - Number(b.machine === undefined))
    .map((entry) => ({
      login: entry.login,
      password: entry.password,
      isDefault: entry.machine === undefined,
    }))[0];
}

interface Parsed {
  machine: string | undefined;
  login?: string;
  password?: string;
}

function parse(text: string): Parsed[] {
  const entries: Parsed[] = [];
  const tokens = tokenize(text);
  for (let i = 0; i < tokens.length; i++) {
    const entry = entries.at(-1);
    switch (tokens[i]) {
      case "machine":
        entries.push({ machine: tokens[++i]?.toLowerCase() ?? "" });
        break;
      case "default":
        entries.push({ machine: undefined });
        break;
      case "login":
        if (entry !== undefined) entry.login = tokens[++i] ?? "";
        break;
      case "password":
        if (entry !== undefined) entry.password = tokens[++i] ?? "";
        break;
      case "account":
        i++;
        break;
    }
  }
  return entries;
}

/** Words, or quoted strings with backslash escapes. Comments and macro definitions (up to an empty line) are left out. */
function tokenize(text: string): string[] {
  const plain = text
    .replaceAll("\r\n", "\n")
    .replace(/(^|\n)[ \t]*macdef[^\n]*\n(?:[^\n]+\n?)*/g, "$1\n");
  const tokens: string[] = [];
  for (const line of plain.split("\n")) {
    for (const match of line.matchAll(/"((?:[^"\\]|\\.)*)"|(\S+)/g)) {
      // A comment begins a line or follows a blank; a password may well begin with "#".
      if (match[2]?.startsWith("#") === true && !isValuePosition(tokens)) break;
      tokens.push(match[1]?.replaceAll(/\\(.)/g, "$1") ?? (match[2] as string));
    }
  }
  return tokens;
}

function isValuePosition(tokens: readonly string[]): boolean {
  return ["machine", "login", "password", "account"].includes(tokens.at(-1) ?? "");
}
