/** Where a store is, as people and variables write it. */
import { UsageError } from "@pannier/core/adapter";

/** {@link parseEndpoint} of what need not be given. */
export function optionalEndpoint(text: string | undefined, from: string): URL | undefined {
  return text === undefined ? undefined : parseEndpoint(text, from);
}

/**
 * @param from what it is, for messages: `option "endpoint"`
 * @returns without a slash at its end, but for that of the root
 * @throws UsageError, without showing the text
 */
export function parseEndpoint(text: string, from: string): URL {
  const url = URL.parse(text);
  const usable =
    url !== null &&
    (url.protocol === "http:" || url.protocol === "https:") &&
    url.username + url.password + url.search + url.hash === "";
  if (!usable) {
    throw new UsageError(
      `${from} must be a URL such as https://host`,
      "leave out user, query and fragment",
    );
  }
  url.pathname = url.pathname.replace(/\/+$/, "");
  return url;
}

/** Whether what is sent there can be read on its way: plain http, and not to this machine. */
export function isExposed({ protocol, hostname }: URL): boolean {
  return (
    protocol === "http:" &&
    hostname !== "localhost" &&
    hostname !== "[::1]" &&
    !/^127\.\d+\.\d+\.\d+$/.test(hostname)
  );
}
