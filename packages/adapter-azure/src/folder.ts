/** Blobs below a prefix as a folder. */
import type { Folder } from "@pannier/core/adapter";
import { httpFolder } from "@pannier/http-client";
import { refuseLarger } from "@pannier/object-store";
import { blobUrl } from "./content.ts";
import type { Container } from "./request.ts";

/** https://learn.microsoft.com/rest/api/storageservices/put-blob */
const LARGEST = 5000 * 2 ** 20;

/** @param prefix empty, or ends with a slash */
export function azureFolder(
  { base, ask }: Container,
  prefix: string,
  own: Pick<Folder, "identity" | "close">,
): Folder {
  return httpFolder({
    ...own,
    async ask(path, { headers, sha256: _sha256, expect, ...question }) {
      refuseLarger(path, Number(headers["content-length"] ?? 0), LARGEST);
      const { "cache-control": caching, ...others } = headers;
      const ofBlob: Record<string, string> = {};
      if (question.method === "PUT") ofBlob["x-ms-blob-type"] = "BlockBlob";
      if (caching !== undefined) ofBlob["x-ms-blob-cache-control"] = caching;
      return ask({
        ...question,
        url: new URL(blobUrl(base, prefix + path)),
        headers: { ...others, ...ofBlob },
        subject: path,
        others: expect,
      });
    },
  });
}
