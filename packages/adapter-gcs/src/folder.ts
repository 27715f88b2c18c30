/**
 * A prefix of a bucket as a folder. Versions are generations, which stand for ETags in what HTTP asks: those of content and of metadata
 * are of two kinds.
 *
 * @see https://cloud.google.com/storage/docs/request-preconditions
 */
import { randomUUID } from "node:crypto";
import type { Folder } from "@pannier/core/adapter";
import { type FolderQuestion, httpFolder, type HttpResponse } from "@pannier/http-client";
import { queryOf } from "@pannier/object-store";
import { STORED } from "./content.ts";
import { asObject, FIELDS, readMetadata } from "./page.ts";
import { ask, type Bucket } from "./request.ts";

/**
 * @param writing the bucket for what is written: who only reads asks for no more than that
 * @param prefix empty, or ends with a slash
 */
export function gcsFolder(
  bucket: Bucket,
  writing: Bucket,
  prefix: string,
  userProject: string | undefined,
  own: Pick<Folder, "identity" | "close">,
): Folder {
  const { connection } = bucket;

  async function read(key: string, question: FolderQuestion): Promise<HttpResponse> {
    const { headers, expect, operation, signal } = question;
    const { "if-none-match": unless, ...others } = headers;
    const opened = await connection.current(signal);
    return ask(bucket, opened, {
      url: `${opened.objects}/${encodeURIComponent(key)}`,
      query: { alt: "media", ifGenerationNotMatch: generationIn(unless), userProject },
      headers: { ...STORED, ...others },
      others: expect,
      operation,
      asked: { kind: "object", key },
      signal,
    });
  }

  /** With what is to be known of the object before the content: https://cloud.google.com/storage/docs/uploading-objects#rest-upload-objects */
  async function write(key: string, question: FolderQuestion): Promise<HttpResponse> {
    const { headers, body, expect, operation, signal } = question;
    const opened = await writing.connection.current(signal);
    const none = headers["if-none-match"] === "*" ? "0" : undefined;
    const boundary = randomUUID();
    const { "content-type": contentType, "cache-control": cacheControl } = headers;
    const metadata = JSON.stringify({ name: key, contentType, cacheControl });
    const head = Buffer.from(
      `--${boundary}\r\ncontent-type: application/json\r\n\r\n${metadata}\r\n--${boundary}\r\ncontent-type: ${contentType}\r\n\r\n`,
    );
    const tail = Buffer.from(`\r\n--${boundary}--\r\n`);
    const size = head.byteLength + Number(headers["content-length"]) + tail.byteLength;
    const query = queryOf({
      uploadType: "multipart",
      ifGenerationMatch: none ?? generationIn(headers["if-match"]),
      userProject,
    });
    return ask(writing, opened, {
      method: "POST",
      url: `${opened.uploads}?${query}`,
      headers: {
        "content-type": `multipart/related; boundary=${boundary}`,
        "content-length": String(size),
      },
      body: (async function* () {
        yield head;
        if (body !== undefined) yield* body();
        yield tail;
      })(),
      others: expect,
      operation,
      asked: { kind: "object", key, writes: true },
      signal,
    });
  }

  return {
    ...httpFolder({
      ...own,
      async ask(path, question) {
        const key = prefix + path;
        const response = await (question.method === "PUT" ? write : read)(key, question);
        const generation = response.headers["x-goog-generation"];
        const etag = generation === undefined ? {} : { etag: `"${generation}"` };
        return { ...response, headers: { ...response.headers, ...etag } };
      },
    }),

    // Content is not asked about without being sent.
    async size(path, signal) {
      const key = prefix + path;
      const opened = await connection.current(signal);
      const response = await ask(bucket, opened, {
        url: `${opened.objects}/${encodeURIComponent(key)}`,
        query: { fields: FIELDS, userProject },
        others: [404],
        operation: "look",
        asked: { kind: "object", key },
        signal,
      });
      if (response.status === 200) return Number(asObject(await readMetadata(response)).size);
      await response.discard();
      return undefined;
    },
  };
}

function generationIn(condition: string | undefined): string | undefined {
  return /^"(\d+)"$/.exec(condition ?? "")?.[1];
}
