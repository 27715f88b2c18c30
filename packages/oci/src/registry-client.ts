/** Requests to one repository of a registry, signed where the registry wants that. */
import {
  createHttpClient,
  type HttpRequest,
  type HttpResponse,
  statusError,
} from "@pannier/http-client";
import { makeSignIn } from "./sign-in.ts";
import type { StoreInit } from "./store.ts";

export interface RegistryClient {
  /** Where the registry is. */
  readonly registry: URL;
  /** A URL of the repository. */
  at(path: string): URL;
  /**
   * Asks once, and once more where the registry wants us to sign in. Nothing to sign in with is sent to another host.
   *
   * @throws SourceError for a status that is not expected
   */
  ask(url: URL, request: HttpRequest & { signal: AbortSignal }): Promise<HttpResponse>;
  /** What it signs in with, in words. */
  identity(): Promise<string>;
  close(): Promise<void>;
}

/** Nothing is asked yet. */
export function openRegistryClient(init: StoreInit): RegistryClient {
  const { location, reference } = init;
  const isHub = location.host === "docker.io" || location.host === "index.docker.io";
  const repository =
    isHub && !reference.repository.includes("/")
      ? `library/${reference.repository}`
      : reference.repository;
  const port = location.port === undefined ? "" : `:${location.port}`;
  const scheme = location.scheme === "oci+http" ? "http" : "https";
  const registry = new URL(`${scheme}://${isHub ? "registry-1.docker.io" : location.host}${port}`);
  const client = createHttpClient({
    credentials: init.credentials,
    env: init.env,
    idleTimeout: init.idleTimeout,
    connections: 16,
    onRequest: init.onRequest,
  });
  const signIn = makeSignIn({
    client,
    registry,
    host: location.host + port,
    repository,
    actions: init.actions,
    location,
    credentials: init.credentials,
    env: init.env,
  });

  return {
    registry,
    at: (path) => new URL(`/v2/${repository}/${path}`, registry),
    async ask(url, request) {
      const { expect } = request;
      const isOwn = url.origin === registry.origin;
      for (let refused = false; ; refused = true) {
        const signed: Readonly<Record<string, string>> = isOwn ? await signIn.headers() : {};
        const response = await client.request(url, {
          ...request,
          headers: { ...request.headers, ...signed },
          expect: "any",
        });
        const { status } = response;
        if (Array.isArray(expect) ? expect.includes(status) : status >= 200 && status < 300)
          return response;
        await response.discard();
        const asks = status === 401 && !refused && response.url.origin === registry.origin;
        if (asks && (await signIn.answer(response, request.signal))) continue;
        const what = request.subject === undefined ? "" : `${request.subject}: `;
        throw statusError(status, response.headers, what, "authorization" in signed || refused);
      }
    },
    identity: () => signIn.identity(),
    close: () => client.close(),
  };
}
