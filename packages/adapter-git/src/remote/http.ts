/** Repositories over smart HTTP: https://git-scm.com/docs/http-protocol */
import { SourceError } from "@pannier/core/adapter";
import type { HttpClient, HttpResponse } from "@pannier/http-client";
import { statusError } from "@pannier/http-client";
import { notGit, PacketReader } from "./pkt-line.ts";
import {
  type Advertisement,
  fetchRequest,
  formatOf,
  type ObjectFormat,
  readAdvertisement,
  readFetch,
  readRefs,
  refsRequest,
} from "./protocol.ts";
import type { Remote } from "./remote.ts";

type Server = Pick<Advertisement, "version" | "capabilities"> & {
  /** Where requests go: the repository's URL, or where it was redirected to. */
  readonly root: string;
  readonly format: ObjectFormat;
};

/** What is asked of a server. */
interface Conversation {
  /** As it is counted. */
  readonly operation: string;
  /** Whether the answer must come at some pace. */
  readonly paced: boolean;
}

const REFS: Conversation = { operation: "refs", paced: true };
/** Keeping a connection alive while a pack is prepared takes a byte a second: packets have a floor of their own. */
const FETCH: Conversation = { operation: "fetch", paced: false };

/**
 * A repository at an HTTP URL.
 *
 * The first request already speaks protocol 2, which nearly every server knows, without asking first what the server can do.
 * Where that fails the server is asked in the way that works with all of them, which is also the way to learn of a redirect. After
 * a server's error, which may also be just that, it is asked so the next time.
 *
 * @param url the repository's URL, without user, password and query
 */
export function httpRemote(url: string, client: HttpClient): Remote {
  const base = url.replace(/\/+$/, "");
  const guess: Server = { root: base, version: 2, capabilities: new Set(), format: "sha1" };
  let known: Server | undefined;
  /** Whether to ask what the server can do before anything else. */
  let doubtful = false;

  /** Asks a server of which it is not known what it can do; `undefined` where it does not understand. */
  async function askUnknown<T>(
    body: string,
    conversation: Conversation,
    signal: AbortSignal,
    read: (response: HttpResponse) => Promise<T>,
  ): Promise<T | undefined> {
    if (doubtful) return undefined;
    const response = await post(client, guess, body, conversation, signal);
    if (!isAnswer(response)) {
      await response.discard();
      doubtful = response.status >= 500;
      if (doubtful || isFinal(response.status)) throw failure(response);
      return undefined;
    }
    try {
      const result = await read(response);
      known = guess;
      return result;
    } catch (error) {
      if (isMisunderstanding(error)) return undefined;
      throw error;
    }
  }

  /** Asks a server that is known to understand. */
  async function ask<T>(
    server: Server,
    body: string,
    conversation: Conversation,
    signal: AbortSignal,
    read: (response: HttpResponse) => Promise<T>,
  ): Promise<T> {
    // Should it fail, it may have been replaced or moved: the next request starts from what the user wrote.
    known = undefined;
    const response = await post(client, server, body, conversation, signal);
    if (!isAnswer(response)) {
      await response.discard();
      throw failure(response);
    }
    const result = await read(response);
    known = server;
    return result;
  }

  return {
    async refs(prefixes, signal) {
      const read = (response: HttpResponse) =>
        reading(response, (reader) => readRefs(reader, prefixes));
      const list = (server: Server) =>
        ask(server, refsRequest(prefixes, server.format), REFS, signal, read);
      if (known?.version === 2) return list(known);
      if (known === undefined) {
        const body = refsRequest(prefixes, guess.format);
        const refs = await askUnknown(body, REFS, signal, read);
        if (refs !== undefined) return refs;
      }
      // Should this fail as well, it is not for the way in which it was asked.
      doubtful = false;
      const { server, refs } = await discover(base, client, prefixes, signal);
      if (server.version === 2) return list(server);
      known = server;
      return refs;
    },

    async fetch(request, signal) {
      const format = formatOf(request.want);
      const read = (version: 0 | 2) => async (response: HttpResponse) => {
        const reader = new PacketReader(response.body);
        try {
          return await readFetch(reader, version, request.depth);
        } catch (error) {
          await reader.close();
          throw error;
        }
      };
      const fetch = (server: Server) =>
        ask(server, fetchRequest(request, server), FETCH, signal, read(server.version));
      if (known !== undefined) return fetch({ ...known, format });
      const body = fetchRequest(request, guess);
      const result = await askUnknown(body, FETCH, signal, read(2));
      if (result !== undefined) return result;
      doubtful = false;
      return fetch((await discover(base, client, [], signal)).server);
    },

    close: () => client.close(),
  };
}

const ANSWER = "application/x-git-upload-pack";
const DISCOVERY = "/info/refs?service=git-upload-pack";

function post(
  client: HttpClient,
  server: Server,
  body: string,
  { operation, paced }: Conversation,
  signal: AbortSignal,
): Promise<HttpResponse> {
  return client.request(`${server.root}/git-upload-pack`, {
    method: "POST",
    redirect: "manual",
    expect: "any",
    operation,
    paced,
    signal,
    headers: {
      "content-type": "application/x-git-upload-pack-request",
      accept: "application/x-git-upload-pack-result",
      ...(server.version === 2 ? { "git-protocol": "version=2" } : {}),
    },
    body,
  });
}

/** Asks what the server can do, following redirects: one that leads elsewhere takes the repository's URL with it. */
async function discover(
  base: string,
  client: HttpClient,
  prefixes: readonly string[],
  signal: AbortSignal,
): Promise<{ server: Server; refs: Advertisement["refs"] }> {
  const response = await askForRefs(base, client, signal);
  const { href } = response.url;
  if (!isAdvertisement(response) || !href.endsWith(DISCOVERY)) throw await notARepository(response);
  const advertisement = await reading(response, (reader) => readAdvertisement(reader, prefixes));
  const { version, capabilities, refs } = advertisement;
  const format = capabilities.has("object-format=sha256") ? "sha256" : "sha1";
  return {
    server: { root: href.slice(0, -DISCOVERY.length), version, capabilities, format },
    refs,
  };
}

function askForRefs(base: string, client: HttpClient, signal: AbortSignal): Promise<HttpResponse> {
  return client.request(base + DISCOVERY, {
    operation: "refs",
    signal,
    expect: "any",
    headers: { "git-protocol": "version=2", accept: "*/*" },
  });
}

/**
 * Whether a git repository is at a URL. 403 is no answer to that: stores of files say so of whatever they do not have, and
 * servers of git say 401 or 404 to who may not see a repository.
 *
 * @throws SourceError where the server cannot be reached, wants a sign-in, or fails
 */
export async function isRepository(
  url: string,
  client: HttpClient,
  signal: AbortSignal,
): Promise<boolean> {
  const response = await askForRefs(url.replace(/\/+$/, ""), client, signal);
  await response.discard();
  const { status, headers } = response;
  if ([401, 407, 408, 425, 429].includes(status) || (status >= 500 && status !== 501))
    throw undecided(statusError(status, headers));
  return isAdvertisement(response);
}

/** @param error why it is not known whether a repository is there */
function undecided({ code, message, transient, retryAfter, reached, hint }: SourceError) {
  const advice =
    "write git+ before the URL of a repository; PANNIER_ADAPTER=http takes it for a file";
  return new SourceError(code, message, {
    transient,
    retryAfter,
    reached,
    hint: hint === undefined ? advice : `${hint}; ${advice}`,
  });
}

/** The media type alone: servers and proxies add parameters to it. */
function isOfType({ status, headers }: HttpResponse, type: string): boolean {
  const [found = ""] = (headers["content-type"] ?? "").split(";", 1);
  return status === 200 && found.trim().toLowerCase() === type;
}

function isAnswer(response: HttpResponse): boolean {
  return isOfType(response, `${ANSWER}-result`);
}

function isAdvertisement(response: HttpResponse): boolean {
  return isOfType(response, `${ANSWER}-advertisement`);
}

/** Whether a server would say the same to any request. One that knows no protocol 2 may say anything else, 403 included. */
function isFinal(status: number): boolean {
  return [401, 407, 408, 425, 429].includes(status);
}

/** What is wrong with an answer that holds no refs for us. */
async function notARepository(response: HttpResponse): Promise<SourceError> {
  if (response.status !== 200) {
    await response.discard();
    return failure(response);
  }
  // A file that `git update-server-info` wrote: the repository lies there as files.
  const start: Uint8Array[] = [];
  for await (const chunk of response.body) {
    start.push(chunk);
    break;
  }
  if (!/^[0-9a-f]{40,64}\t/.test(Buffer.concat(start).toString("latin1"))) return notGit();
  return new SourceError("unsupported", "the server only knows git's dumb HTTP protocol", {
    hint: "serve the repository by git http-backend (smart HTTP) or ssh",
  });
}

/** Whether an answer failed for not being in protocol 2, rather than on its way. */
function isMisunderstanding(error: unknown): boolean {
  if (!(error instanceof SourceError) || error.cause !== undefined) return false;
  // What is too slow is so in either way.
  return error.code === "invalid" || (error.code === "unavailable" && error.transient);
}

function failure({ status, headers }: HttpResponse): SourceError {
  if (status === 404 || status === 410)
    return new SourceError("not-found", "the repository does not exist", {
      hint: "check the URL; servers also say so of a private repository to those who may not see it",
    });
  return status < 400 ? notGit() : statusError(status, headers);
}

async function reading<T>(
  response: HttpResponse,
  read: (reader: PacketReader) => Promise<T>,
): Promise<T> {
  const reader = new PacketReader(response.body);
  try {
    const result = await read(reader);
    // To its end, so that the connection can be used again.
    if ((await reader.next()) !== undefined) throw notGit();
    return result;
  } catch (error) {
    await reader.close();
    throw error;
  }
}
