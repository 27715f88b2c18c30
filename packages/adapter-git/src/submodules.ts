/** What `.gitmodules` says about a submodule: where it is, and nothing else of it is heeded. */
import { SourceError } from "@pannier/core";

/** URLs of submodules by path. The format is that of git's configuration files: https://git-scm.com/docs/git-config#_syntax */
export function parseGitmodules(text: string): Map<string, string> {
  const urls = new Map<string, string>();
  let section: { path?: string; url?: string } = {};
  const finish = () => {
    if (section.path !== undefined && section.url !== undefined)
      urls.set(section.path.replace(/\/+$/, ""), section.url);
  };
  for (const line of text.split(/\r?\n/)) {
    if (/^\s*\[/.test(line)) {
      finish();
      section = {};
      continue;
    }
    const [, key, value = ""] = /^\s*([A-Za-z]+)\s*=\s*(.*)$/.exec(line) ?? [];
    if (key?.toLowerCase() === "path") section.path = unquoted(value);
    if (key?.toLowerCase() === "url") section.url = unquoted(value);
  }
  finish();
  return urls;
}

/** A value without its comment, quotes and escapes. */
function unquoted(value: string): string {
  let text = "";
  let quoted = false;
  for (let i = 0; i < value.length; i++) {
    const char = value[i] as string;
    if (char === "\\") text += value[++i] ?? "";
    else if (char === '"') quoted = !quoted;
    else if (!quoted && (char === "#" || char === ";")) break;
    else text += char;
  }
  return text.trim();
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
