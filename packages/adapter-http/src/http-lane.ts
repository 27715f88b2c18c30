/** A file, or files of a directory, in a lane: those of which the listing tells a version or a digest. */
import type { OpenLane } from "@pannier/core/adapter";
import {
  ifMatchHeaders,
  type LaneTarget,
  openHttpLane,
  rangeHeaders,
  sameVersion,
} from "@pannier/http-client/lane";
import { fileUrl } from "./directory/file-url.ts";

export interface LaneData {
  readonly target: LaneTarget;
  /** Of the file, or of the directory. */
  readonly url: string;
  readonly kind: "file" | "directory";
  /** What signs in. */
  readonly headers: Readonly<Record<string, string>>;
}

export const openLane: OpenLane = (context) =>
  openHttpLane<LaneData>(
    {
      target: ({ target }) => target,
      request({ path, ref, digest }, { url, kind, headers }, range) {
        if (ref === undefined && digest === undefined) return undefined;
        const conditions = ifMatchHeaders(ref);
        // Parts of what may be two versions make no file.
        const isCertain = digest !== undefined || conditions["if-match"] !== undefined;
        if (range !== undefined && !isCertain) return undefined;
        const base = new URL(url);
        const { pathname, search } = kind === "file" ? base : fileUrl(base, path);
        return {
          path: pathname + search,
          headers: { ...conditions, ...headers, ...rangeHeaders(range) },
          judge: (answer) => (sameVersion(answer, ref) ? { digest: undefined } : undefined),
        };
      },
    },
    context,
  );
