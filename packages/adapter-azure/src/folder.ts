/** Blobs below a prefix as a folder. */
import type { Folder, FolderContext, Location, OptionValues } from "@pannier/core/adapter";
import { type FolderUpload, httpFolder } from "@pannier/http-client";
import {
  inParts,
  once,
  refuseMarker,
  rootOf,
  storeClient,
  type UploadLimits,
} from "@pannier/object-store";
import { blobUrl } from "./content.ts";
import { connect } from "./connection.ts";
import { type azureOptions, placeOf } from "./options.ts";
import { type Container, openContainer } from "./request.ts";

/** https://learn.microsoft.com/rest/api/storageservices/put-blob; of blocks there may be 50,000. */
const LIMITS: UploadLimits = { whole: 5000 * 2 ** 20, part: 256 * 2 ** 20 };

/** @param limits for tests, which cannot send as much as it takes */
export async function openAzureFolder(
  location: Location,
  options: OptionValues<typeof azureOptions>,
  context: FolderContext,
  limits = LIMITS,
): Promise<Folder> {
  const { account, container: name } = placeOf(location);
  const { anonymous, endpoint, marker } = options;
  refuseMarker(marker);
  const { credentials } = context;
  const http = storeClient(context);
  const init = { account, anonymous, endpoint, location, credentials, env: process.env, http };
  const connection = await connect(init);
  const container = openContainer(connection, name, http);
  const { prefix } = rootOf(location, 1);
  return httpFolder({
    async ask(path, { sha256: _sha256, ...question }) {
      const url = new URL(blobUrl(container.base, prefix + path));
      const { body, headers, expect } = question;
      if (body === undefined)
        return container.ask({ ...question, url, subject: path, others: expect });
      const size = Number(headers["content-length"]);
      if (size > limits.whole)
        return uploadBlocks(
          container,
          { ...question, body, url, subject: path },
          size,
          limits.part,
        );
      return container.ask({
        ...question,
        url,
        headers: { ...ofBlob(headers), "x-ms-blob-type": "BlockBlob" },
        subject: path,
        others: expect,
      });
    },
    identity: async () => connection.signIn.source,
    close: () => http.close(),
  });
}

/** What is larger than one request may be: https://learn.microsoft.com/rest/api/storageservices/put-block-list. What was begun and not ended is dropped after a week. */
async function uploadBlocks(
  { ask }: Container,
  upload: FolderUpload & { readonly url: URL; readonly subject: string },
  size: number,
  part: number,
) {
  const { body, headers, url, expect, ...asked } = upload;
  const at = (query: string) => new URL(`${url.href}?${query}`);
  const ids: string[] = [];
  for await (const { size: length, content } of inParts(body(), size, part)) {
    const id = Buffer.from(String(ids.length).padStart(8, "0")).toString("base64");
    const done = await ask({
      ...asked,
      url: at(`comp=block&blockid=${encodeURIComponent(id)}`),
      headers: { "content-length": String(length) },
      body: () => content,
      others: [201],
    });
    await done.discard();
    ids.push(id);
  }
  const list = Buffer.from(
    `<?xml version="1.0" encoding="utf-8"?><BlockList>${ids.map((id) => `<Latest>${id}</Latest>`).join("")}</BlockList>`,
  );
  return ask({
    ...asked,
    url: at("comp=blocklist"),
    headers: {
      ...ofBlob(headers),
      "content-type": "application/xml",
      "content-length": String(list.byteLength),
      "x-ms-blob-content-type": headers["content-type"] ?? "",
    },
    body: () => once(list),
    others: expect,
  });
}

/** What is said of the answer's caching is said of the blob. */
function ofBlob(headers: Readonly<Record<string, string>>): Record<string, string> {
  const { "cache-control": caching, ...others } = headers;
  return caching === undefined ? others : { ...others, "x-ms-blob-cache-control": caching };
}
