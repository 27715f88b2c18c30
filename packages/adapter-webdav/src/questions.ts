/** The questions about what there is: PROPFIND, RFC 4918, 9.1. */
import { quotePath, SourceError } from "@pannier/core/adapter";
import { type HttpClient, type HttpResponse, serverTime } from "@pannier/http-client";
import {
  isCollection,
  type Listing,
  listDeep,
  listWalked,
  namesIn,
  NO_DEPTH,
  type Propfind,
  resourcesOf,
} from "./list.ts";
import type { Resource } from "./multistatus.ts";
import type { SignIn } from "./sign-in.ts";

const PROPFIND = `<?xml version="1.0" encoding="utf-8"?>
<propfind xmlns="DAV:"><prop><resourcetype/><getcontentlength/><getlastmodified/><getetag/></prop></propfind>`;

/** Where the source is, once the server was asked. */
export interface Root {
  /** As it is asked for, percent-encoded; of a collection with a `/` at the end. */
  readonly path: string;
  /**
   * As the server names it, decoded: in another case where that does not matter to it, by the name of a user that signs in by another
   * one, below another path than a proxy's.
   */
  readonly own: readonly string[];
  /** Where the source is one file. */
  readonly file: Resource | undefined;
  /** Milliseconds, by the server's clock, when it was asked. */
  readonly at: number;
}

export interface Questions {
  /** A collection may be named without its `/`: servers redirect, or answer as they are meant. */
  look(signal: AbortSignal): Promise<Root>;
  /** What is below a collection. */
  list(
    root: Root,
    how: Pick<Listing, "retry" | "scope" | "signal">,
  ): Promise<{ readonly ordered: boolean; readonly entries: ReturnType<typeof listDeep> }>;
}

export function makeQuestions(client: HttpClient, signIn: SignIn, url: URL): Questions {
  let root: Root | undefined;
  let deep = true;

  const ask = (path: string, depth: string, expect: readonly number[], signal: AbortSignal) => {
    const below =
      root === undefined || path === root.path ? undefined : path.slice(root.path.length);
    return signIn.request(client, new URL(path, url.origin), {
      method: "PROPFIND",
      headers: { depth, "content-type": "application/xml; charset=utf-8" },
      body: PROPFIND,
      expect: [207, ...expect],
      operation: "list",
      subject: below === undefined ? undefined : quotePath(decodeURI(below)),
      signal,
    });
  };
  const propfind: Propfind = (path, depth, signal) => ask(path, depth, [], signal);

  /** `undefined` where the server does not list all at once. */
  async function askDeep(path: string, signal: AbortSignal): Promise<HttpResponse | undefined> {
    const response = await ask(path, "infinity", NO_DEPTH, signal).catch((error: unknown) => {
      // Apache hangs up where a collection may not be read, wanted or not: the next time it is walked.
      if (!signal.aborted && (error as SourceError).reached === undefined) deep = false;
      throw error;
    });
    if (response.status === 207) return response;
    await response.discard();
    deep = false;
    return undefined;
  }

  /** A tree so large that the server gathers it for longer than we wait is walked the next time. */
  async function* watched(listing: ReturnType<typeof listDeep>, signal: AbortSignal) {
    try {
      yield* listing;
    } catch (error) {
      if (!signal.aborted) deep = false;
      throw error;
    }
  }

  return {
    async look(signal) {
      const response = await propfind(url.pathname, "0", signal).catch((error: unknown) => {
        throw withHint(error);
      });
      const path = response.url.pathname;
      const at = serverTime(response);
      const found: Resource[] = [];
      for await (const resources of resourcesOf(response)) found.push(...resources);
      const [itself] = found;
      if (itself === undefined || found.length > 1) {
        const said = itself === undefined ? "nothing" : "more";
        throw new SourceError("invalid", `the server says ${said} of what it was asked for`, {
          hint: "check the path in the URL",
        });
      }
      const own = namesIn(itself.href);
      root = isCollection(itself)
        ? { path: path.endsWith("/") ? path : `${path}/`, own, file: undefined, at }
        : { path, own, file: itself, at };
      return root;
    },

    async list({ path, own }, how) {
      const listing: Listing = { propfind, base: path, own, ...how };
      const response = deep ? await askDeep(path, how.signal) : undefined;
      if (response === undefined) return { ordered: true, entries: listWalked(listing) };
      return { ordered: false, entries: watched(listDeep(response, listing), how.signal) };
    },
  };
}

/** On first contact a connection that breaks is more likely to be the wrong port than bad luck. */
function withHint(error: unknown): unknown {
  if (!(error instanceof SourceError) || error.code !== "unavailable" || error.hint !== undefined)
    return error;
  const { message, transient, retryAfter, cause } = error;
  const hint = "check that a WebDAV server listens on this host and port";
  return new SourceError("unavailable", message, { transient, retryAfter, cause, hint });
}
