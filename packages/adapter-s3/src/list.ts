/** Listings, asked for in the way that the server knows. */
import { type HttpResponse, readText } from "@pannier/http-client";
import {
  type KeyRange,
  listingClock,
  type ListObjectsPage,
  type StoreListing,
} from "@pannier/object-store";
import type { Refusal } from "./errors.ts";
import { makeEscaping } from "./escaping.ts";
import { type Next, parseObjects, parseVersions } from "./page.ts";
import { Declined, type Request, type Requests } from "./request.ts";

/** Pages asked for at once. S3 takes 5,500 requests a second for each prefix. */
const AT_ONCE = 24;
/** 1,000 keys of 1,024 bytes, each of which may be escaped as three. */
const MAX_PAGE = 8 << 20;
/** Archived objects that are named at once. */
const NAMED = 5;

export interface Lister {
  /** Begins a listing. */
  list(): StoreListing;
  /** When the last one began, by the server's clock. */
  listedAt(): number;
}

/** What servers say to a listing of a kind that they do not know. */
function isUnknownListing({ status, code }: Refusal): boolean {
  return (
    status === 501 ||
    (status === 400 && /^(?:NotImplemented|Invalid\w*|Unsupported\w*|)$/.test(code))
  );
}

export function makeLister(
  { ask, place }: Requests,
  init: {
    /** Of all that is listed. */
    readonly prefix: string;
    /** Whether version ids are listed. */
    readonly versions: boolean;
    /** Of the last listing, the first ones. */
    readonly archived: Set<string>;
  },
): Lister {
  const { versions, archived } = init;
  const clock = listingClock();
  /** The server lists as it was done before there were tokens. */
  let old = false;
  const readEscaping = makeEscaping({ ask, place });

  const listPage: ListObjectsPage = async (prefix, range, continuation, signal) => {
    const from = continuation === undefined ? undefined : (JSON.parse(continuation) as Next);
    const { text, now } = await askPage(prefix, range, from, signal);
    const page = { now, escaped: await readEscaping(text, signal) };
    const { items, next, passed } = versions ? parseVersions(text, page) : parseObjects(text, page);
    if (next !== undefined && "marker" in next) old = true;
    for (const item of items) {
      if (item.archived === true && prefix === init.prefix && archived.size < NAMED) {
        archived.add(item.key);
      }
    }
    return { items, next: next === undefined ? undefined : JSON.stringify(next), passed };
  };

  return {
    list() {
      archived.clear();
      clock.restart();
      return { listPage, atOnce: AT_ONCE };
    },
    listedAt: clock.began,
  };

  /** A page as the server sends it, asked for in the way that it knows. */
  async function askPage(
    prefix: string,
    { after }: KeyRange,
    continuation: Next | undefined,
    signal: AbortSignal,
  ): Promise<{ text: string; now: number }> {
    const asked = (query: Request["query"], decline?: Request["decline"]) =>
      ask(undefined, {
        query: { prefix: prefix || undefined, "encoding-type": "url", ...query },
        operation: "list",
        signal,
        ...(decline === undefined ? {} : { decline }),
      });
    const marked = (marker: string | undefined) => asked({ marker });
    const send = async (): Promise<HttpResponse> => {
      if (versions) {
        const { key, version } = { key: after, version: "", ...continuation };
        return asked({
          versions: "",
          "key-marker": key,
          "version-id-marker": version || undefined,
        });
      }
      if (continuation !== undefined && "marker" in continuation)
        return marked(continuation.marker);
      const token =
        continuation === undefined ? undefined : (continuation as { token: string }).token;
      if (old) return marked(after);
      try {
        return await asked(
          {
            "list-type": "2",
            "start-after": token === undefined ? after : undefined,
            "continuation-token": token,
          },
          token === undefined ? isUnknownListing : undefined,
        );
      } catch (error) {
        if (!(error instanceof Declined)) throw error;
        // Whatever it is that was wrong, this is told of it.
        const response = await marked(after);
        old = true;
        return response;
      }
    };
    const response = await send();
    return { text: await readText(response.body, MAX_PAGE), now: clock.answered(response) };
  }
}
