/** What `.gitmodules` says about submodules: where they are, and which are to be left out. Nothing else of it is heeded. */
import { SourceError } from "@pannier/core/adapter";
import { readConfig } from "./config.ts";

export interface Submodule {
  readonly url: string | undefined;
  /** `update = none`: git leaves it out unless it is asked for by name. */
  readonly skipped: boolean;
}

/** Submodules by path. @throws SourceError `invalid` */
export function parseGitmodules(text: string): Map<string, Submodule> {
  const named = new Map<string, { path?: string; url?: string; update?: string }>();
  for (const { section, subsection, key, value } of readConfig(text)) {
    if (section !== "submodule" || subsection === undefined) continue;
    let module = named.get(subsection);
    if (module === undefined) named.set(subsection, (module = {}));
    if (key === "path" || key === "url" || key === "update") module[key] = value;
  }
  const modules = new Map<string, Submodule>();
  for (const { path, url, update } of named.values())
    if (path !== undefined) modules.set(normalised(path), { url, skipped: update === "none" });
  return modules;
}

/** Without the slashes and dots that people write into it. */
function normalised(path: string): string {
  const segments = path.split("/").filter((segment) => segment !== "" && segment !== ".");
  return segments.join("/");
}

/**
 * A submodule's URL made absolute, as git does it: `./` and `../` are relative to the superproject's own URL.
 *
 * @param parent the superproject's URL, without credentials
 * @throws SourceError `unsupported` where it is of a kind that is not fetched
 */
export function submoduleUrl(parent: string, url: string, path: string): string {
  const refused = (why: string) =>
    new SourceError("unsupported", `the submodule ${JSON.stringify(path)} ${why}`, {
      hint: "set submodules=off, or change the URL in .gitmodules",
    });
  if (/^\.\.?(\/|$)/.test(url)) {
    const [, origin = "", base = ""] = /^([a-z+]+:\/\/[^/]*)(.*)$/.exec(parent) ?? [];
    const segments = base.split("/").filter((segment) => segment !== "");
    for (const segment of url.split("/")) {
      if (segment === "" || segment === ".") continue;
      if (segment !== "..") segments.push(segment);
      else if (segments.pop() === undefined) throw refused("has a URL that leaves the server");
    }
    return `${origin}/${segments.join("/")}`;
  }
  // user@host:path, the short form of ssh.
  const short = /^([\w.-]+@)?([\w.-]+):(?!:|\/\/)(.+)$/.exec(url);
  if (short !== null)
    return `ssh://${short[1] ?? ""}${short[2]}/${(short[3] as string).replace(/^\/+/, "")}`;
  const scheme = /^(https?|ssh|file):\/\//.exec(url)?.[1];
  if (scheme === undefined) throw refused("has a URL of a kind that is not fetched");
  // A repository from elsewhere has no say in which files of this machine are published.
  if (scheme === "file" && !parent.startsWith("file:"))
    throw refused("is a repository on this machine");
  return url;
}
