/** The dashboard's files. */
import { existsSync, readFileSync } from "node:fs";
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
  return { status: 200, body: readFileSync(new URL(name, folder())), type: TYPES[name] as string };
}

/** `assets` of this package; of a bundle, where all code is in one directory, that of the bundle. */
function folder(): URL {
  const [own, bundled] = ["../../assets/", "../assets/"].map(
    (path) => new URL(path, import.meta.url),
  ) as [URL, URL];
  return existsSync(new URL("dashboard.html", bundled)) ? bundled : own;
}
