/** Files of a directory in a lane: those of which the listing tells a version or a digest. */
import type { OpenLane } from "@pannier/core/adapter";
import {
  ifMatchHeaders,
  type LaneTarget,
  openHttpLane,
  sameVersion,
} from "@pannier/http-client/lane";
import { fileUrl } from "./directory/file-url.ts";

export interface LaneData {
  readonly target: LaneTarget;
  /** URL of the directory. */
  readonly directory: string;
  /** What signs in. */
  readonly headers: Readonly<Record<string, string>>;
}

export const openLane: OpenLane = (context) =>
  openHttpLane<LaneData>(
    {
      target: ({ target }) => target,
      request({ path, ref, digest }, { directory, headers }) {
        if (ref === undefined && digest === undefined) return undefined;
        const { pathname, search } = fileUrl(new URL(directory), path);
        return {
          path: pathname + search,
          headers: { ...ifMatchHeaders(ref), ...headers },
          judge: (answer) => (sameVersion(answer, ref) ? { digest: undefined } : undefined),
        };
      },
    },
    context,
  );
