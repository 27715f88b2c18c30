/** Requests to the blob service: addressed, signed in and sent over the shared data plane, with their refusals translated. */
import type { HttpClient, HttpResponse } from "@pannier/http-client";
import { blobError, isUnauthenticated } from "./errors.ts";
import type { SignIn } from "./sign-in.ts";

/** Names with characters that XML cannot hold are encoded since 2021-02-12, and kinds of entries told since 2020-10-02. Azure Stack and emulators lag behind, hence not the newest. */
const VERSION = "2021-12-02";

interface BlobRequest {
  readonly method?: "GET" | "HEAD" | undefined;
  /** The blob; `undefined` for the container. */
  readonly key?: string | undefined;
  readonly query?: Readonly<Record<string, string | undefined>> | undefined;
  /** By lower-case name. */
  readonly headers?: Readonly<Record<string, string>> | undefined;
  /** How messages name the blob; by its key unless given. */
  readonly subject?: string | undefined;
  readonly operation: string;
  readonly version?: string | undefined;
  readonly signal: AbortSignal;
}

/** Sends a request. @throws SourceError for any answer but 200 and 206 */
export type BlobService = (request: BlobRequest) => Promise<HttpResponse>;

export interface BlobServiceInit {
  readonly http: HttpClient;
  readonly endpoint: URL;
  readonly container: string;
  readonly signIn: SignIn;
}

export function createBlobService(init: BlobServiceInit): BlobService {
  const { http, signIn } = init;
  const base = `${init.endpoint.href.replace(/\/+$/, "")}/${init.container}`;

  return async ({ method = "GET", key, query = {}, operation, signal, ...request }) => {
    const url = new URL(key === undefined ? base : `${base}/${encodeKey(key)}`);
    // Not by searchParams: they write a blank as "+".
    url.search = Object.entries(query)
      .flatMap(([name, value]) =>
        value === undefined ? [] : [`${name}=${encodeURIComponent(value)}`],
      )
      .join("&");
    const headers = {
      ...request.headers,
      "x-ms-date": new Date().toUTCString(),
      "x-ms-version": request.version ?? VERSION,
    };
    const signature = await signIn.sign({ method, url, headers }, signal);
    const secret =
      signature.query === undefined ? "" : `${url.search ? "&" : "?"}${signature.query}`;
    const subject = request.subject ?? key;
    const response = await http.request(url.href + secret, {
      method,
      headers: { ...headers, ...signature.headers },
      // The service redirects nobody, and what was signed is for it alone.
      redirect: "manual",
      expect: "any",
      subject,
      operation,
      signal,
    });
    const { status } = response;
    if (status === 200 || status === 206) {
      signIn.accepted(signature);
      return response;
    }
    await response.discard();
    const renewed = isUnauthenticated(response) && (await signIn.refused(signature));
    throw blobError(response, subject, { renewed, listed: operation === "read" });
  };
}

/** A key as a path. A segment of dots would be taken for a step in it, by the URL class already; the service takes an encoded slash for a slash. */
function encodeKey(key: string): string {
  const segments = key.split("/").map(encodeURIComponent);
  return segments.join(segments.some((each) => /^\.\.?$/.test(each)) ? "%2F" : "/");
}
