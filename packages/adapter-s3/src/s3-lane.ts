/** Objects of S3 in a lane: those whose digest the answer tells. Everything else is left to the adapter. */
import type { OpenLane } from "@pannier/core/adapter";
import {
  isTimeFingerprint,
  type LaneTarget,
  openHttpLane,
  rangeHeaders,
} from "@pannier/http-client/lane";
import { encodePath, locate, pathBelow, queryOf, type Root } from "@pannier/object-store/lane";
import type { Place } from "./connection.ts";
import { partsOf, wholeDigest } from "./digest.ts";
import { createSigner, type Keys } from "./sign.ts";
import { whyOtherVersion } from "./content.ts";

export interface LaneData {
  readonly root: Root;
  readonly target: LaneTarget;
  readonly place: Place;
  /** `undefined` where nothing is signed. */
  readonly keys: Keys | undefined;
  readonly requesterPays: boolean;
  /** The server's conditions do not compare what it lists. */
  readonly unconditional: boolean;
  /** By the server's clock. */
  readonly listedAt: number;
}

export const openLane: OpenLane = (context) => {
  const sign = createSigner();
  return openHttpLane<LaneData>(
    {
      target: ({ target }) => target,
      request(entry, data, range) {
        const { fingerprint } = entry;
        // Its digest takes requests of its own.
        if (range === undefined && partsOf(fingerprint) !== undefined) return undefined;
        const { key, ref: versionId } = locate(data.root, entry);
        const { place, keys, listedAt } = data;
        const path = pathBelow(place.base, encodePath(key));
        const query = versionId === undefined ? "" : queryOf({ versionId });
        const host = data.target.origin.slice(data.target.origin.indexOf("//") + 2);
        const conditional =
          !data.unconditional && versionId === undefined && !isTimeFingerprint(fingerprint);
        const headers = {
          ...(conditional ? { "if-match": `"${fingerprint}"` } : {}),
          ...(range === undefined ? { "x-amz-checksum-mode": "ENABLED" } : rangeHeaders(range)),
          ...(data.requesterPays ? { "x-amz-request-payer": "requester" } : {}),
        };
        return {
          path: query === "" ? path : `${path}?${query}`,
          headers:
            keys === undefined
              ? headers
              : sign({ method: "GET", host, path, query, headers }, keys, place, new Date()),
          judge(answer) {
            const other = whyOtherVersion(answer, entry, versionId, listedAt);
            return other === undefined ? { digest: wholeDigest(answer.headers) } : undefined;
          },
        };
      },
    },
    context,
  );
};
