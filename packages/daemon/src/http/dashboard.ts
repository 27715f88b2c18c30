/** The dashboard's files. */
import { readFileSync } from "node:fs";
import type { Reply } from "./reply.ts";

const TYPES: Readonly<Record<string, string>> = {
  "dashboard.html": "text/html; charset=utf-8",
  "dashboard.css": "text/css; charset=utf-8",
  "dashboard.js": "text/javascript; charset=utf-8",
};

export function page(): Reply {
  return asset("dashboard.html") as Reply;
}

/** One of ours; `undefined` for any other name. Read when asked for: an idle daemon holds none of them. */
export function asset(name: string | undefined): Reply | undefined {
  if (name === undefined || !Object.hasOwn(TYPES, name)) return undefined;
  const body = readFileSync(new URL(`../../assets/${name}`, import.meta.url));
  return { status: 200, body, type: TYPES[name] as string };
}
