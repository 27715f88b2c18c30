/** A tar archive behind a web server, replaced as a whole: a source without moments in between. */
import { createHash } from "node:crypto";
import { buffer } from "node:stream/consumers";
import tar from "tar-stream";
import { serve } from "./support.ts";

export type Files = Readonly<Record<string, string | Uint8Array>>;

async function packTar(files: Files): Promise<Buffer> {
  const pack = tar.pack();
  for (const [name, content] of Object.entries(files)) {
    pack.entry({ name, mtime: new Date(1_700_000_000_000) }, Buffer.from(content));
  }
  pack.finalize();
  return buffer(pack);
}

export interface ServedArchive {
  readonly url: string;
  set(files: Files): Promise<void>;
}

export async function serveArchive(): Promise<ServedArchive> {
  let body: Buffer = Buffer.alloc(0);
  let etag = "";
  const origin = await serve((request, response) => {
    response.setHeader("etag", etag);
    if (request.headers["if-none-match"] === etag) response.writeHead(304).end();
    else if (request.method === "HEAD") response.setHeader("content-length", body.length).end();
    else response.end(body);
  });
  return {
    url: `${origin}/tree.tar`,
    async set(files) {
      body = await packTar(files);
      etag = `"${createHash("sha256").update(body).digest("hex").slice(0, 16)}"`;
    },
  };
}
