/** A prefix of a bucket as a folder. */
import {
  type Folder,
  type FolderContext,
  type Location,
  type OptionValues,
  SourceError,
} from "@pannier/core/adapter";
import { type FolderUpload, httpFolder, type HttpResponse, readText } from "@pannier/http-client";
import { inParts, once, refuseMarker, storeClient, type UploadLimits } from "@pannier/object-store";
import { connect } from "./connection.ts";
import { checkSettings, type s3Options } from "./options.ts";
import { makeRequests, type Requests } from "./request.ts";

/** https://docs.aws.amazon.com/AmazonS3/latest/userguide/qfacts.html */
const WHOLE = 5 * 2 ** 30;
const SMALL_PART = 64 * 2 ** 20;
const MOST_PARTS = 10_000;
/** An answer holds at most a key, its bucket and an id. */
const MAX_ANSWER = 64 * 1024;

/** What was begun is given up within this time, or left. */
const ABANDON_WITHIN_MS = 10_000;

/** @param limits for tests, which cannot send as much as it takes */
export function openS3Folder(
  location: Location,
  options: OptionValues<typeof s3Options>,
  context: FolderContext,
  limits?: UploadLimits,
): Folder {
  const settings = checkSettings(location, options);
  const { root, marker, requesterPays } = settings;
  refuseMarker(marker);
  const http = storeClient(context);
  const connection = connect(settings, location, context.credentials, http);
  const { ask } = makeRequests({ http, connection, requesterPays, archived: new Set() });
  return httpFolder({
    async ask(path, question) {
      const key = root.prefix + path;
      const { headers, sha256, expect, body, ...asked } = question;
      const size = Number(headers["content-length"] ?? 0);
      if (body !== undefined && size > (limits?.whole ?? WHOLE)) {
        const part = limits?.part ?? Math.max(SMALL_PART, Math.ceil(size / MOST_PARTS));
        return uploadParts(ask, key, { ...question, body }, { size, part });
      }
      // The server checks it.
      const digest = sha256 === undefined ? {} : { "x-amz-content-sha256": sha256 };
      return ask(key, { ...asked, body, headers: { ...headers, ...digest }, others: expect });
    },
    identity: async (signal) => (await connection.signIn.current(signal)).from,
    close: () => http.close(),
  });
}

/** What is larger than one request may be: https://docs.aws.amazon.com/AmazonS3/latest/userguide/mpuoverview.html */
async function uploadParts(
  ask: Requests["ask"],
  key: string,
  { headers, body, operation, signal }: FolderUpload,
  { size, part }: { readonly size: number; readonly part: number },
): Promise<HttpResponse> {
  const { "content-length": _length, ...ofObject } = headers;
  const own = { operation, signal };
  const begun = await ask(key, {
    ...own,
    method: "POST",
    query: { uploads: "" },
    headers: { ...ofObject, "content-length": "0" },
  });
  const told = await readText(begun.body, MAX_ANSWER);
  const [, uploadId] = /<UploadId>([^<&]+)<\/UploadId>/.exec(told) ?? [];
  if (uploadId === undefined) {
    throw new SourceError("unsupported", `${key}: the server begins no upload in parts`);
  }
  try {
    const parts: string[] = [];
    for await (const { size: length, content } of inParts(body(), size, part)) {
      const number = parts.length + 1;
      const done = await ask(key, {
        ...own,
        method: "PUT",
        query: { partNumber: String(number), uploadId },
        headers: { "content-length": String(length) },
        body: () => content,
      });
      await done.discard();
      const etag = done.headers["etag"]?.replaceAll('"', "") ?? "";
      parts.push(`<Part><PartNumber>${number}</PartNumber><ETag>"${etag}"</ETag></Part>`);
    }
    const list = Buffer.from(
      `<CompleteMultipartUpload xmlns="http://s3.amazonaws.com/doc/2006-03-01/">${parts.join("")}</CompleteMultipartUpload>`,
    );
    const ended = await ask(key, {
      ...own,
      method: "POST",
      query: { uploadId },
      headers: { "content-type": "application/xml", "content-length": String(list.byteLength) },
      body: () => once(list),
    });
    // It may begin to answer before it knows.
    const [, code] = /<Error>.*?<Code>(\w+)</s.exec(await readText(ended.body, MAX_ANSWER)) ?? [];
    if (code === undefined) return ended;
    throw new SourceError("unavailable", `${key}: the server did not join the parts (${code})`);
  } catch (error) {
    // Parts would be kept, and paid for. Where that fails as well, the first error is the one to tell.
    const abandoned = { operation, signal: AbortSignal.timeout(ABANDON_WITHIN_MS) };
    await ask(key, { ...abandoned, method: "DELETE", query: { uploadId }, others: [204, 404] })
      .then((response) => response.discard())
      .catch(() => {});
    throw error;
  }
}
