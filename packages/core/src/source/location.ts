/** Where a source is: its URL taken apart once, for every adapter. */
import { UsageError } from "./errors.ts";

/** A source's URL in parts. Nothing here but `username` and `password` is secret, and {@link redact} never prints those. */
export interface Location {
  /** As typed, in lower case, without the colon: `git+https`. */
  readonly scheme: string;
  /** Host name without port; empty for `file:///…`. IPv6 addresses keep their brackets; of S3, it may be the ARN of an access point. */
  readonly host: string;
  readonly port: number | undefined;
  /** Percent-encoded as typed, with its leading `/`. For a plain path: the absolute path, encoded. */
  readonly pathname: string;
  /** Decoded. */
  readonly username: string | undefined;
  /** Decoded. */
  readonly password: string | undefined;
  /** The query as options; the source's own query parameters (`?X-Amz-…`) are the adapter's to tell apart, see `http`. */
  readonly query: Readonly<Record<string, string>>;
  /** The whole query as typed, without `?`; may hold secrets (signed URLs). */
  readonly rawQuery: string;
}

/** An access point of S3 by its ARN, as AWS's tools take it: a URL would end the host at its slash, and begin a port at its colons. */
const ARN = /^s3:\/\/(arn:aws[a-z-]*:s3:[a-z0-9-]*:\d{12}:accesspoint)[:/]([a-z0-9.-]+)(?=[/?]|$)/i;

/**
 * Takes apart a source as a user writes it: a URL, or a plain path (anything that does not start with a scheme), which
 * becomes a `file` location resolved against `cwd`.
 *
 * @throws UsageError when it is neither
 */
export function parseLocation(text: string, cwd?: string): Location {
  if (text === "")
    throw new UsageError(
      "the source is empty",
      "give a URL such as git+https://host/repo.git, or a path",
    );
  if (/[\0\r\n]/.test(text)) throw new UsageError("the source holds a control character");
  if (!text.isWellFormed()) throw new UsageError("the source is not valid Unicode");
  const scheme = /^([A-Za-z][A-Za-z0-9+.-]*):/.exec(text)?.[1]?.toLowerCase();
  if (scheme === undefined) return fileLocation(text, cwd);
  if (!text.slice(scheme.length).startsWith("://")) {
    throw new UsageError(
      `"${scheme}:" is not followed by "//"`,
      "write a URL such as https://host/path; for a path with a colon, start it with ./",
    );
  }
  // It would end the URL unseen: `s3://bucket/a#b/` would stand for everything below `a`.
  if (text.includes("#")) {
    throw new UsageError('the source holds a "#"', "write a literal # as %23");
  }
  const arn = ARN.exec(text);
  if (arn === null && /^[^/]+:\/\/arn(:|%3a)/i.test(text)) {
    throw new UsageError(
      "the source has an ARN that names no access point",
      "write the name of the bucket: s3://BUCKET/PREFIX/",
    );
  }
  let url: URL;
  try {
    // The URL class treats unknown schemes as opaque hosts, which keeps bucket names in their case.
    url = new URL(arn === null ? text : `s3://arn${text.slice(arn[0].length)}`);
  } catch {
    throw new UsageError(
      `the source is not a URL that can be read: it starts with "${scheme}://"`,
      "check the host, the port and the percent signs",
    );
  }
  return {
    scheme,
    host: arn === null ? decodeHost(url.hostname) : `${arn[1]}:${arn[2]}`,
    port: url.port === "" ? undefined : Number(url.port),
    pathname: url.pathname === "" ? "/" : url.pathname,
    username: decodeUserinfo(url.username),
    password: decodeUserinfo(url.password),
    query: Object.fromEntries(url.searchParams),
    rawQuery: url.search.slice(1),
  };
}

function fileLocation(path: string, cwd: string | undefined): Location {
  const scp = /^([^/@]+@[^/:]+):(.*)$/.exec(path);
  if (scp !== null) {
    throw new UsageError(
      "the source has neither a scheme nor the form of a path",
      `for ssh write git+ssh://${scp[1]}/${scp[2]} or sftp://${scp[1]}/${scp[2]}; for a path, start it with ./`,
    );
  }
  const absolute = path.startsWith("/")
    ? path
    : `${(cwd ?? process.cwd()).replace(/\/$/, "")}/${path}`;
  // Not the steps upwards: past a symlink they lead elsewhere than it looks.
  const segments = absolute.split("/").filter((segment) => segment !== ".");
  return {
    scheme: "file",
    host: "",
    port: undefined,
    pathname: segments.map(encodeURIComponent).join("/") || "/",
    username: undefined,
    password: undefined,
    query: {},
    rawQuery: "",
  };
}

/** A host goes into other URLs and into file names: what is encoded in it must not change their structure. */
function decodeHost(text: string): string {
  const host = decode(text);
  // eslint-disable-next-line no-control-regex
  if (!/^\[[0-9a-fA-F:.]+\]$/.test(host) && /[\0-\x20\x7f/\\@?#:%]/.test(host)) {
    throw new UsageError("the source has a host that holds a special character");
  }
  return host;
}

/** Line breaks in a name or password would be commands in some protocols. */
function decodeUserinfo(text: string): string | undefined {
  if (text === "") return undefined;
  const decoded = decode(text);
  // eslint-disable-next-line no-control-regex
  if (/[\0-\x1f\x7f]/.test(decoded)) {
    throw new UsageError("the source has a control character in its user name or password");
  }
  return decoded;
}

function decode(text: string): string {
  try {
    return decodeURIComponent(text);
  } catch {
    throw new UsageError(
      "the source has a percent sign that starts no escape",
      "write a literal % as %25",
    );
  }
}

/** The decoded path of a location. @throws UsageError on a malformed escape or a NUL */
export function decodedPath(location: Location): string {
  const path = decode(location.pathname);
  if (path.includes("\0")) throw new UsageError("the source has a NUL in its path");
  return path;
}

/**
 * A location as it may be printed, logged and kept: without user, password, or the value of any query parameter
 * that is not one of the adapter's options.
 *
 * @param options the names of options whose values may be shown
 */
export function redact(location: Location, options: readonly string[] = []): string {
  const port = location.port === undefined ? "" : `:${location.port}`;
  const shown = Array.from(new URLSearchParams(location.rawQuery), ([name, value]) => {
    if (options.includes(name)) {
      // An option's value may itself be a URL with a password or a signature in it.
      const secret = value.includes("@") || /:\/\/.*\?/.test(value);
      return `${name}=${secret ? "***" : encodeURIComponent(value)}`;
    }
    // A name alone may be a token: `?sv=…` has a value, `?eyJhbGciOi…` has none.
    return value === "" ? "***" : `${encodeURIComponent(name)}=***`;
  });
  return `${location.scheme}://${location.host}${port}${location.pathname}${shown.length === 0 ? "" : `?${shown.join("&")}`}`;
}
