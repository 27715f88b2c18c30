/** Git LFS: files of which the repository only holds a pointer. https://github.com/git-lfs/git-lfs/tree/main/docs */
import { releaseAfterUse, SourceError } from "@pannier/core/adapter";
import { type HttpClient, readJson } from "@pannier/http-client";
import type { LfsPointer } from "./lfs-pointer.ts";

/** Objects that one request of the batch API asks for. */
const BATCH = 100;

export interface LfsClient {
  read(pointer: LfsPointer, signal: AbortSignal): Promise<AsyncIterable<Uint8Array>>;
}

interface Action {
  readonly href: URL;
  readonly header: Readonly<Record<string, string>>;
}

/**
 * The server's place for LFS files, found as git-lfs finds it from the repository's URL. A `.lfsconfig` in the repository is
 * not heeded: it could send credentials elsewhere.
 *
 * @param signedIn signs in at the repository's origin only
 * @param anonymous for downloads that the server signed itself
 */
export function lfsClient(url: string, signedIn: HttpClient, anonymous: HttpClient): LfsClient {
  const base = url.replace(/\/+$/, "").replace(/(?:\.git)?$/, ".git/info/lfs");
  const queue: { pointer: LfsPointer; found: PromiseWithResolvers<Action> }[] = [];

  /** Asks for everything that was wished for in one turn of the event loop at once. */
  async function ask(): Promise<void> {
    const wishes = queue.splice(0, BATCH);
    if (queue.length > 0) setImmediate(() => void ask());
    try {
      const actions = await batch(wishes.map(({ pointer }) => pointer));
      for (const { pointer, found } of wishes) {
        const action = actions.get(pointer.oid);
        if (action instanceof Error) found.reject(action);
        else if (action === undefined) found.reject(missing(pointer));
        else found.resolve(action);
      }
    } catch (error) {
      for (const { found } of wishes) found.reject(error);
    }
  }

  async function batch(
    pointers: readonly LfsPointer[],
  ): Promise<Map<string, Action | SourceError>> {
    const response = await signedIn.request(`${base}/objects/batch`, {
      method: "POST",
      operation: "lfs",
      subject: "Git LFS",
      headers: {
        accept: "application/vnd.git-lfs+json",
        "content-type": "application/vnd.git-lfs+json",
      },
      body: JSON.stringify({ operation: "download", transfers: ["basic"], objects: pointers }),
    });
    const answer = parseAnswer(await readJson(response.body, LONGEST_ANSWER, unreadable));
    const actions = new Map<string, Action | SourceError>();
    for (const { oid, error, actions: offered } of answer) {
      if (error !== undefined && error !== null) {
        const code = error.code === 404 || error.code === 410 ? "not-found" : "unavailable";
        actions.set(oid, new SourceError(code, `the LFS server refuses the object ${oid}`));
      } else if (offered?.download?.href !== undefined)
        actions.set(oid, toAction(offered.download));
    }
    return actions;
  }

  function toAction({ href, header = {} }: Offer): Action {
    if (!URL.canParse(href, base)) throw unreadable();
    return { href: new URL(href, base), header };
  }

  return {
    async read(pointer, signal) {
      const found = Promise.withResolvers<Action>();
      if (queue.push({ pointer, found }) === 1) setImmediate(() => void ask());
      const { href, header } = await found.promise;
      const signed = Object.keys(header).some((name) => name.toLowerCase() === "authorization");
      const response = await (signed ? anonymous : signedIn).request(href, {
        headers: header,
        operation: "lfs",
        subject: `Git LFS object ${pointer.oid}`,
        signal,
      });
      return releaseAfterUse(response.body);
    },
  };
}

interface Offer {
  readonly href: string;
  readonly header?: Readonly<Record<string, string>>;
}

interface AnswerObject {
  readonly oid: string;
  readonly error?: { readonly code?: number } | null;
  readonly actions?: { readonly download?: Offer | null } | null;
}

const LONGEST_ANSWER = { size: 4 * 1024 * 1024, values: 100_000 };

function parseAnswer(json: unknown): readonly AnswerObject[] {
  const { objects } = (json ?? {}) as { readonly objects?: AnswerObject[] };
  if (!Array.isArray(objects) || objects.includes(null as never)) throw unreadable();
  return objects;
}

function unreadable(): SourceError {
  return new SourceError("invalid", "the LFS server's answer cannot be read");
}

function missing(pointer: LfsPointer): SourceError {
  return new SourceError("not-found", `the LFS server does not have the object ${pointer.oid}`);
}
