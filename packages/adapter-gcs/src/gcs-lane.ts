/** Objects of Google Cloud Storage in a lane. */
import type { OpenLane } from "@pannier/core/adapter";
import { type LaneTarget, openHttpLane, rangeHeaders } from "@pannier/http-client/lane";
import { locate, pathBelow, type Root } from "@pannier/object-store/lane";
import { contentQuery, STORED, whyOtherGeneration } from "./content.ts";

export interface LaneData {
  readonly root: Root;
  readonly target: LaneTarget;
  /** As the connection has them. */
  readonly objects: string;
  readonly headers: Readonly<Record<string, string>>;
  readonly userProject: string | undefined;
}

export const openLane: OpenLane = (context) =>
  openHttpLane<LaneData>(
    {
      target: ({ target }) => target,
      request(entry, { root, objects, headers, userProject }, range) {
        const { key, ref: generation } = locate(root, entry);
        if (generation === undefined) return undefined;
        const path = pathBelow(objects, `/${encodeURIComponent(key)}`);
        return {
          path: `${path}?${contentQuery(generation, userProject)}`,
          headers: { ...STORED, ...headers, ...rangeHeaders(range) },
          judge: (answer) =>
            whyOtherGeneration(answer, generation) === undefined
              ? { digest: undefined }
              : undefined,
        };
      },
    },
    context,
  );
