/** A folder whose files have URLs. What differs is how they are asked for and signed in to. */
import { type Folder, SourceError } from "@pannier/core/adapter";
import { ifMatchHeaders } from "./conditional.ts";
import { partOf } from "./part-of.ts";
import { rangeHeaders } from "./parts.ts";
import { ifNoneMatchHeaders, validatorOf } from "./resource.ts";
import type { HttpResponse } from "./response.ts";
import { isFresh, serverTime } from "./validators.ts";

/** A question about one file. */
export interface FolderQuestion {
  readonly method: "GET" | "HEAD" | "PUT";
  /** Of a part, of a condition, of the content; by lower-case name. */
  readonly headers: Readonly<Record<string, string>>;
  /** Called for each time that it is sent. */
  readonly body?: (() => AsyncIterable<Uint8Array>) | undefined;
  /** In hex, of the body, where it is known. */
  readonly sha256?: string | undefined;
  /** Statuses that are answers; for others it throws. */
  readonly expect: readonly number[];
  readonly operation: string;
  readonly signal: AbortSignal;
}

/** One that writes. */
export type FolderUpload = FolderQuestion & {
  readonly body: NonNullable<FolderQuestion["body"]>;
};

interface HttpFolderInit extends Pick<Folder, "identity" | "close"> {
  /** Versions are validators of HTTP: `if-match`, `if-none-match` and their like are how conditions stand in the headers. */
  ask(path: string, question: FolderQuestion): Promise<HttpResponse>;
}

export function httpFolder({ ask, identity, close }: HttpFolderInit): Folder {
  return {
    async read(path, { range, unless, operation }, signal) {
      const response = await ask(path, {
        method: "GET",
        headers: { ...rangeHeaders(range), ...ifNoneMatchHeaders(unless) },
        expect: [
          200,
          ...(range === undefined ? [] : [206]),
          ...(unless === undefined ? [] : [304]),
        ],
        operation,
        signal,
      });
      if (response.status === 304) {
        await response.discard();
        return undefined;
      }
      const content = range === undefined ? response.body : await partOf(response, range);
      const modified = Date.parse(response.headers["last-modified"] ?? "");
      const fresh = isFresh(modified, serverTime(response));
      return { content, version: validatorOf(response), fresh };
    },

    async size(path, signal) {
      const response = await ask(path, {
        method: "HEAD",
        headers: {},
        expect: [200, 404],
        operation: "look",
        signal,
      });
      await response.discard();
      if (response.status === 404) return undefined;
      // Without a length it is there, and nothing can be said of its content.
      return Number(response.headers["content-length"] ?? Number.NaN);
    },

    async write(path, { size, content, sha256, type, replaces }, signal) {
      const response = await ask(path, {
        method: "PUT",
        headers: {
          "content-length": String(size),
          "content-type": type,
          ...(replaces === undefined ? {} : replacing(replaces.version)),
        },
        body: content,
        sha256,
        expect: [200, 201, 204, ...(replaces === undefined ? [] : [409, 412])],
        operation: "upload",
        signal,
      });
      await response.discard();
      if (response.status < 400) return;
      throw new SourceError("changed", `${path}: another wrote it at the same time`, {
        transient: true,
      });
    },

    identity,
    close,
  };
}

/** @param version of what is replaced; `undefined`: nothing is there */
function replacing(version: string | undefined): Record<string, string> {
  const condition = version === undefined ? { "if-none-match": "*" } : ifMatchHeaders(version);
  return { ...condition, "cache-control": "no-cache" };
}
