/** Blobs in a lane, signed in by what is the same for all: a token, a shared access signature, or nothing. */
import type { OpenLane } from "@pannier/core/adapter";
import {
  ifMatch,
  type LaneTarget,
  openHttpLane,
  rangeHeaders,
  versionMismatch,
} from "@pannier/http-client/lane";
import { locate, pathBelow, type Root } from "@pannier/object-store/lane";
import { encodeKey, VERSION } from "./content.ts";
import type { Signature } from "./sign-in.ts";

export interface LaneData {
  readonly root: Root;
  readonly target: LaneTarget;
  /** URL of the container. */
  readonly base: string;
  readonly signature: Signature;
  /** By the server's clock. */
  readonly listedAt: number;
}

export const openLane: OpenLane = (context) =>
  openHttpLane<LaneData>(
    {
      target: ({ target }) => target,
      request(entry, { root, base, signature, listedAt }, range) {
        const { key, ref: etag } = locate(root, entry);
        const path = pathBelow(base, `/${encodeKey(key)}`);
        return {
          path: signature.query === undefined ? path : `${path}?${signature.query}`,
          headers: {
            ...ifMatch(etag === undefined ? undefined : `"${etag}"`),
            "x-ms-version": VERSION,
            ...signature.headers,
            ...rangeHeaders(range),
          },
          judge(answer) {
            const listed = { etag, mtime: entry.mtime };
            const other = versionMismatch(answer, listed, listedAt);
            return other === undefined ? { digest: undefined } : undefined;
          },
        };
      },
    },
    context,
  );
