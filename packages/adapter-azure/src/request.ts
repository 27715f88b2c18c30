/** The questions that are asked of the blob service: a page of a listing, one blob's properties (by the SDK), its content. */
import type { Pipeline } from "@azure/core-rest-pipeline";
import type { IHttpClient } from "@azure/storage-blob";
import { type Body, type ByteRange, type FileEntry, SourceError } from "@pannier/core/adapter";
import { type HttpClient, type HttpResponse, ifMatch, versionMismatch } from "@pannier/http-client";
import { markerVersion, readObject } from "@pannier/object-store";
import { blobUrl, containerUrl, VERSION } from "./content.ts";
import type { Connection } from "./connection.ts";
import { blobError, isUnauthenticated } from "./errors.ts";

/** A blob as it was listed. */
interface Listed extends Pick<FileEntry, "path" | "size" | "mtime"> {
  readonly key: string;
  readonly etag: string | undefined;
  /** When it was listed, by the server's clock. */
  readonly listedAt: number;
}

/** Each throws SourceError for any answer but 200 and 206. */
export interface Api {
  /** List Blobs. @param version of the service, where the usual one does not know what is asked for */
  list(
    query: Readonly<Record<string, string | undefined>>,
    version: string | undefined,
    signal: AbortSignal,
  ): Promise<HttpResponse>;
  /** What tells the newest version of a blob from others. */
  inspect(key: string, signal: AbortSignal): Promise<string>;
  /** @throws SourceError `changed` where the blob is another by now */
  content(blob: Listed, range: ByteRange | undefined, signal: AbortSignal): Promise<Body>;
}

export interface ApiInit extends Connection {
  readonly http: HttpClient;
  readonly container: string;
}

interface Request {
  readonly method?: "GET" | "HEAD" | undefined;
  readonly url: URL;
  /** By lower-case name. */
  readonly headers?: Readonly<Record<string, string>> | undefined;
  /** How messages name the blob; `undefined` for the container. */
  readonly subject?: string | undefined;
  readonly operation: string;
  readonly version?: string | undefined;
  readonly signal: AbortSignal;
}

export function makeApi({ http, endpoint, container, signIn }: ApiInit): Api {
  const base = containerUrl(endpoint, container);

  return {
    list(query, version, signal) {
      const url = new URL(base);
      // Not by searchParams, which write a blank as "+"; and nothing empty, which the SDK's signature leaves out.
      url.search = Object.entries({ restype: "container", comp: "list", ...query })
        .flatMap(([name, value]) => (value ? [`${name}=${encodeURIComponent(value)}`] : []))
        .join("&");
      return ask({ url, version, operation: "list", signal });
    },

    async inspect(key, signal) {
      const { AnonymousCredential, ContainerClient } = await import("./sdk.ts");
      // Signed, sent and refused as all others; nothing is tried again.
      const httpClient: IHttpClient = {
        async sendRequest(request) {
          const url = new URL(request.url);
          const response = await ask({
            method: "HEAD",
            url,
            subject: key,
            operation: "probe",
            signal,
          });
          await response.discard();
          const headers = request.headers.clone();
          for (const { name } of headers.headersArray()) headers.remove(name);
          for (const name in response.headers) headers.set(name, response.headers[name] ?? "");
          return { request, status: response.status, headers };
        },
      };
      const client = new ContainerClient(base, new AnonymousCredential(), {
        httpClient,
        retryOptions: { maxTries: 1 },
      });
      const blob = client.getBlobClient(key);
      // It asks whether the body is a form, and so loads all of Node's own undici: 57 ms, more than the rest of the question.
      const { storageClientContext: inner } = blob as unknown as {
        readonly storageClientContext?: { readonly pipeline: Pipeline };
      };
      inner?.pipeline.removePolicy({ name: "formDataPolicy" });
      const found = await blob.getProperties();
      const headers = {
        etag: found.etag,
        "last-modified": found.lastModified?.toUTCString(),
        "content-length": String(found.contentLength),
        date: found.date?.toUTCString(),
      };
      return markerVersion({ headers }, key);
    },

    content({ key, path, size, mtime, etag, listedAt }, range, signal) {
      const url = new URL(blobUrl(base, key));
      const read = (headers: Readonly<Record<string, string>>) =>
        ask({ url, headers, subject: path, operation: "read", signal });
      return readObject({
        subject: path,
        size,
        range,
        async ask(part) {
          const conditions = ifMatch(etag === undefined ? undefined : `"${etag}"`);
          try {
            return await read({ ...conditions, ...part });
          } catch (error) {
            signal.throwIfAborted();
            const unmet = error instanceof SourceError && error.code === "changed";
            if (!unmet || etag === undefined) throw error;
            // It changed; or what stands between gives another ETag to the service than it listed.
            return read(part);
          }
        },
        mismatch: (response) => versionMismatch(response, { etag, mtime }, listedAt),
      });
    },
  };

  async function ask({ method = "GET", url, subject, operation, ...request }: Request) {
    const { signal } = request;
    const headers = { ...request.headers, "x-ms-version": request.version ?? VERSION };
    const signature = await signIn.sign({ method, url, headers }, signal);
    const secret =
      signature.query === undefined ? "" : `${url.search ? "&" : "?"}${signature.query}`;
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
  }
}
