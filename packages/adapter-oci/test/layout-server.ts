/** Serves a directory over TLS, as web servers do: ETags, conditions, ranges. */
import { createHash } from "node:crypto";
import { once } from "node:events";
import { readFile, writeFile } from "node:fs/promises";
import { createServer } from "node:https";
import type { AddressInfo } from "node:net";
import { join } from "node:path";
import { generate } from "selfsigned";

export interface LayoutServer {
  readonly port: number;
  /** Its own certificate, to be trusted. */
  readonly caFile: string;
  /** What was asked for, with what it was answered. */
  readonly log: { readonly path: string; readonly status: number; readonly bytes: number }[];
  /** What has to be sent to be let in. */
  authorization: string | undefined;
  /** Whether ranges are heeded. */
  ranges: boolean;
  close(): Promise<void>;
}

export async function serveLayouts(directory: string): Promise<LayoutServer> {
  const { cert, private: key } = await generate([{ name: "commonName", value: "127.0.0.1" }], {
    extensions: [{ name: "subjectAltName", altNames: [{ type: 7, ip: "127.0.0.1" }] }],
  });
  const caFile = join(directory, "ca.pem");
  await writeFile(caFile, cert);
  const server = createServer({ cert, key }, async ({ url = "", headers }, response) => {
    const path = decodeURIComponent(url);
    const answer = (status: number, head: Record<string, string> = {}, body = Buffer.alloc(0)) => {
      self.log.push({ path, status, bytes: body.byteLength });
      response.writeHead(status, { "content-length": body.byteLength, ...head }).end(body);
    };
    const wanted = path.startsWith("/locked") ? "nobody has this" : self.authorization;
    if (wanted !== undefined && headers.authorization !== wanted) return answer(401);
    const content = await readFile(join(directory, path)).catch(() => undefined);
    if (content === undefined) return answer(404);
    const etag = `"${createHash("sha256").update(content).digest("hex").slice(0, 20)}"`;
    if (headers["if-none-match"] === etag) return answer(304, { etag });
    const [, from, to] = /^bytes=(\d+)-(\d+)$/.exec(headers.range ?? "") ?? [];
    if (from === undefined || !self.ranges) return answer(200, { etag }, content);
    const part = content.subarray(Number(from), Number(to) + 1);
    const last = Number(from) + part.byteLength - 1;
    answer(206, { etag, "content-range": `bytes ${from}-${last}/${content.byteLength}` }, part);
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  const self: LayoutServer = {
    port: (server.address() as AddressInfo).port,
    caFile,
    log: [],
    authorization: undefined,
    ranges: true,
    async close() {
      server.closeAllConnections();
      server.close();
      await once(server, "close");
    },
  };
  return self;
}
