/** A small registry in the process, for tests that need no real one: content in memory, and a count of what it was asked for. */
import { createHash } from "node:crypto";
import { once } from "node:events";
import { createServer, type IncomingMessage, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { buffer } from "node:stream/consumers";

export interface RegistryOptions {
  /** Answers where it wants to; `true` where it did. */
  readonly before?: (request: IncomingMessage, response: ServerResponse) => boolean;
  /** Whether ranges of blobs are heeded. Default true. */
  readonly ranges?: boolean;
}

export interface TestRegistry {
  readonly port: number;
  /** By digest. */
  readonly blobs: Map<string, Buffer>;
  /** Digest or tag → manifest, by repository. */
  readonly manifests: Map<string, { readonly bytes: Buffer; readonly type: string }>;
  /** `GET /v2/…`, in order. */
  readonly requests: string[];
  /** Bytes of bodies that were sent. */
  readonly sent: { bytes: number };
  close(): Promise<void>;
}

export async function openRegistry(options: RegistryOptions = {}): Promise<TestRegistry> {
  const blobs = new Map<string, Buffer>();
  const manifests: TestRegistry["manifests"] = new Map();
  const requests: string[] = [];
  const sent = { bytes: 0 };
  const server = createServer((request, response) => {
    requests.push(`${request.method} ${request.url}`);
    answer(request, response).catch((error: unknown) => response.destroy(error as Error));
  });

  async function answer(request: IncomingMessage, response: ServerResponse): Promise<void> {
    if (options.before?.(request, response) === true) return;
    const url = new URL(request.url ?? "", "http://registry");
    const [, repository = "", kind, name = ""] =
      /^\/v2\/(.+)\/(manifests|blobs|tags)\/(.*)$/.exec(url.pathname) ?? [];
    const { method } = request;
    if (kind === "tags") {
      const tags = [...manifests.keys()]
        .filter((key) => key.startsWith(`${repository}/`) && !key.includes("sha256:"))
        .map((key) => key.slice(repository.length + 1));
      return send(response, 200, Buffer.from(JSON.stringify({ name: repository, tags })));
    }
    if (method === "POST" && kind === "blobs") {
      response.writeHead(202, { location: `/v2/${repository}/blobs/uploads/1` }).end();
      return;
    }
    if (method === "PUT") {
      const bytes = await buffer(request);
      const digest = `sha256:${createHash("sha256").update(bytes).digest("hex")}`;
      if (kind === "manifests") {
        const stored = { bytes, type: String(request.headers["content-type"]) };
        manifests.set(`${repository}/${name}`, stored);
        manifests.set(`${repository}/${digest}`, stored);
      } else if (digest === url.searchParams.get("digest")) blobs.set(digest, bytes);
      else return send(response, 400, Buffer.alloc(0));
      response.writeHead(201).end();
      return;
    }
    if (kind === "manifests") {
      const found = manifests.get(`${repository}/${name}`);
      if (found === undefined) return send(response, 404, Buffer.from("{}"));
      const digest = `sha256:${createHash("sha256").update(found.bytes).digest("hex")}`;
      return send(response, 200, found.bytes, {
        "content-type": found.type,
        "docker-content-digest": digest,
      });
    }
    const blob = kind === "blobs" ? blobs.get(name) : undefined;
    if (blob === undefined) return send(response, 404, Buffer.from("{}"));
    const [, from, to] = /^bytes=(\d+)-(\d+)$/.exec(request.headers.range ?? "") ?? [];
    if (from === undefined || options.ranges === false) return send(response, 200, blob);
    const part = blob.subarray(Number(from), Number(to) + 1);
    const last = Number(from) + part.byteLength - 1;
    return send(response, 206, part, { "content-range": `bytes ${from}-${last}/${blob.length}` });
  }

  function send(
    response: ServerResponse,
    status: number,
    body: Buffer,
    headers: Record<string, string> = {},
  ): void {
    response.writeHead(status, { ...headers, "content-length": body.byteLength });
    if (response.req.method === "HEAD") response.end();
    else {
      sent.bytes += body.byteLength;
      response.end(body);
    }
  }

  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  return {
    port: (server.address() as AddressInfo).port,
    blobs,
    manifests,
    requests,
    sent,
    async close() {
      const closed = once(server, "close");
      server.close();
      server.closeAllConnections();
      await closed;
    },
  };
}
