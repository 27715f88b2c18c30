/** Files of a WebDAV server in a lane: those that it sends at once. After a larger one the adapter asks whether it changed meanwhile. */
import type { OpenLane } from "@pannier/core/adapter";
import { type LaneTarget, openHttpLane, versionMismatch } from "@pannier/http-client/lane";
import { AT_ONCE, conditionsOf, encodePath, etagOf } from "./request.ts";

export interface LaneData {
  readonly target: LaneTarget;
  /** Of the collection, percent-encoded, with a `/` at the end. */
  readonly base: string;
  /** What signs in. */
  readonly headers: Readonly<Record<string, string>>;
  /** The server's conditions do not compare what it lists. */
  readonly unconditional: boolean;
  /** By the server's clock. */
  readonly listedAt: number;
}

export const openLane: OpenLane = (context) =>
  openHttpLane<LaneData>(
    {
      target: ({ target }) => target,
      request(entry, { target, base, headers, unconditional, listedAt }) {
        if (entry.size !== undefined && entry.size > AT_ONCE) return undefined;
        const listed = { etag: etagOf(entry.fingerprint), mtime: entry.mtime };
        return {
          path: new URL(base + encodePath(entry.path), target.origin).pathname,
          headers: { ...(unconditional ? {} : conditionsOf(entry)), ...headers },
          most: AT_ONCE,
          judge: (answer) =>
            versionMismatch(answer, listed, listedAt) === undefined
              ? { digest: undefined }
              : undefined,
        };
      },
    },
    context,
  );
