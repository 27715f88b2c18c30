/** A collection as a folder. Collections are made before the first file is written that lies in one: RFC 4918, 9.3 and 9.7. */
import { type Folder, quotePath, SourceError } from "@pannier/core/adapter";
import { type HttpClient, httpFolder } from "@pannier/http-client";
import { encodePath } from "./request.ts";
import type { SignIn } from "./sign-in.ts";

/** How servers say that there is one already: 405. Where nobody may make one there, the file will tell. */
const IS_THERE: readonly number[] = [405, 301, 403];
/** How they say that the one above it is not: 409. */
const NOTHING_ABOVE: readonly number[] = [404, 409];

/** @param base of the collection, with a `/` at its end */
export function webdavFolder(
  client: HttpClient,
  signIn: SignIn,
  base: URL,
  own: Pick<Folder, "identity" | "close">,
): Folder {
  /** By path, with a `/` at the end. Some servers answer 500 to a file of which the collection is not there, once they have all of it. */
  const made = new Map<string, Promise<void>>();

  return httpFolder({
    ...own,
    async ask(path, { body, sha256: _sha256, ...question }) {
      const url = new URL(encodePath(path), base);
      if (question.method === "PUT") await makeCollection(new URL(".", url), question.signal);
      return signIn.request(client, url, {
        ...question,
        // Copied for each time that it is sent, and so made for each.
        get body() {
          return body?.();
        },
        subject: quotePath(path),
      });
    },
  });

  /** That which a file lies in, and those above it that are missing. */
  async function makeCollection(url: URL, signal: AbortSignal): Promise<void> {
    const making = made.get(url.pathname) ?? make(url, signal);
    made.set(url.pathname, making);
    await making.catch((error: unknown) => {
      made.delete(url.pathname);
      throw error;
    });
  }

  async function make(url: URL, signal: AbortSignal): Promise<void> {
    if (await isMade(url, signal)) return;
    const above = new URL("..", url);
    if (above.pathname !== url.pathname) {
      await makeCollection(above, signal);
      if (await isMade(url, signal)) return;
    }
    throw new SourceError("not-found", `${quotePath(url.pathname)}: there is no such collection`, {
      reached: "signed-in",
      hint: "the server does not let it be made: check the path in the URL",
    });
  }

  /** Makes it, or finds that it is there; false where the one above it is not. */
  async function isMade(url: URL, signal: AbortSignal): Promise<boolean> {
    const response = await signIn.request(client, url, {
      method: "MKCOL",
      redirect: "manual",
      expect: [200, 201, 204, ...IS_THERE, ...NOTHING_ABOVE],
      operation: "upload",
      signal,
    });
    await response.discard();
    return !NOTHING_ABOVE.includes(response.status);
  }
}
