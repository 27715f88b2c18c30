/** What a message starts with: `pannier: error:`, in colour on a terminal. */
import type { Log } from "@pannier/daemon";

type Level = Parameters<Log>[0];

/** https://en.wikipedia.org/wiki/ANSI_escape_code#Colors: red, yellow, and dim. */
const COLORS: Readonly<Partial<Record<Level, number>>> = { error: 31, warn: 33, debug: 2 };

export function label(level: Level, color: boolean): string {
  const code = color ? COLORS[level] : undefined;
  return code === undefined ? `${level}:` : `\u001b[${code}m${level}:\u001b[0m`;
}
