/** A prefix of a bucket as a folder. */
import type { Folder } from "@pannier/core/adapter";
import { httpFolder } from "@pannier/http-client";
import { refuseLarger } from "@pannier/object-store";
import type { Requests } from "./request.ts";

/** https://docs.aws.amazon.com/AmazonS3/latest/userguide/upload-objects.html */
const LARGEST = 5 * 2 ** 30;

/** @param prefix empty, or ends with a slash */
export function s3Folder(
  { ask }: Requests,
  prefix: string,
  own: Pick<Folder, "identity" | "close">,
): Folder {
  return httpFolder({
    ...own,
    async ask(path, { headers, sha256, expect, ...question }) {
      refuseLarger(path, Number(headers["content-length"] ?? 0), LARGEST);
      return ask(prefix + path, {
        ...question,
        // The server checks it.
        headers: {
          ...headers,
          ...(sha256 === undefined ? {} : { "x-amz-content-sha256": sha256 }),
        },
        others: expect,
      });
    },
  });
}
