/** Cookie files in Netscape's format, as browsers' exporters, curl and git's `http.cookieFile` use it. */

/** The `Cookie` header for a URL, or `undefined` where no cookie in the file is meant for it. */
export function cookieHeader(text: string, url: URL, now = Date.now()): string | undefined {
  const pairs = text
    .split(/\r?\n/)
    // curl marks cookies that scripts may not see; to everyone else the line is a comment.
    .map((line) => line.replace(/^#HttpOnly_/, ""))
    .filter((line) => line.trim() !== "" && !line.startsWith("#"))
    .map((line) => line.split("\t"))
    .filter((fields) => matches(fields, url, now))
    .map(([, , , , , name, value]) => `${name}=${value ?? ""}`);
  return pairs.length === 0 ? undefined : pairs.join("; ");
}

function matches(fields: readonly string[], url: URL, now: number): boolean {
  const [domain = "", subdomains = "", path = "", secure = "", expires = "", name = ""] = fields;
  const host = url.hostname.toLowerCase();
  const wanted = domain.toLowerCase().replace(/^\./, "");
  if (name === "" || wanted === "" || fields.some((field) => /[^\x20-\x7e]|;/.test(field))) {
    return false;
  }
  if (host !== wanted && !(subdomains === "TRUE" && host.endsWith(`.${wanted}`))) return false;
  if (secure === "TRUE" && url.protocol !== "https:") return false;
  // 0 marks a session cookie.
  if (Number(expires) > 0 && Number(expires) * 1000 <= now) return false;
  const prefix = path === "" ? "/" : path;
  return (
    url.pathname === prefix || url.pathname.startsWith(prefix.endsWith("/") ? prefix : `${prefix}/`)
  );
}
