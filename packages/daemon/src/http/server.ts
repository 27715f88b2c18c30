/** The HTTP port: limits, headers, and nothing told that is none of the caller's business. */
import type { IncomingMessage, Server, ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { describeFailure, UsageError } from "@pannier/core";
import type { HttpConfig } from "../config/config.ts";
import { boundConnections, type Connections } from "./connections.ts";
import type { StatusStream } from "./status-stream.ts";
import { plain, type Reply } from "./reply.ts";
import { createRoutes, type RoutesInit } from "./routes.ts";

export interface HttpPort {
  /** Begins to listen, or moves to another address; `undefined`: stops. @throws UsageError where the address cannot be had; the old one stays */
  listen(config: HttpConfig | undefined): Promise<void>;
  /** Of the port that is open. */
  readonly address: { readonly host: string; readonly port: number } | undefined;
  close(): Promise<void>;
}

/** Of every answer. Assets are our own files, and nothing else is loaded, framed or sent anywhere. */
const HEADERS = {
  "content-security-policy":
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
  "cache-control": "no-store",
  "x-content-type-options": "nosniff",
  "referrer-policy": "no-referrer",
  "cross-origin-resource-policy": "same-origin",
};

/** Those that ask, or may ask; those that listen to events have places of their own. */
const CONNECTIONS = 128;
/** Connections that the kernel holds until we take them: where many come at once, one that is turned away comes again only after a second. */
const BACKLOG = 4096;

export function createHttpPort(init: RoutesInit, statusStream: StatusStream): HttpPort {
  const routes = createRoutes(init);
  let current:
    | { readonly server: Server; readonly connections: Connections; config: HttpConfig }
    | undefined;

  function start(config: HttpConfig): Promise<Server> {
    // Not by `import`, which looks at each export of node:http, and so loads all of Node's own undici.
    const server = process.getBuiltinModule("node:http").createServer(
      {
        maxHeaderSize: 16_384,
        headersTimeout: 10_000,
        requestTimeout: 30_000,
        keepAliveTimeout: 5_000,
        connectionsCheckingInterval: 5_000,
      },
      (request, response) => void answer(request, response),
    );
    return new Promise((resolve, reject) => {
      server.once("error", (error: NodeJS.ErrnoException) => {
        const where = `${config.host ?? ""}:${config.port}`;
        reject(
          new UsageError(
            `the HTTP port ${where} cannot be opened (${error.code})`,
            "choose another one with --http",
            {
              cause: error,
            },
          ),
        );
      });
      const { host, port } = config;
      server.listen({ host, port, backlog: BACKLOG }, () => {
        server.removeAllListeners("error");
        resolve(server);
      });
    });
  }

  async function answer(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const config = current?.config;
    if (config === undefined) {
      response.destroy();
      return;
    }
    response.on("error", () => {});
    try {
      if (request.url === "/events" && request.method === "GET" && config.dashboard) {
        if (statusStream.join(response, HEADERS)) current?.connections.leave(request.socket);
        return;
      }
      send(request, response, (await routes.answer(request, config)) ?? plain(404, "not found"));
    } catch (error) {
      // A caller that went away in the middle is no news.
      if (request.destroyed && !request.complete) return;
      init.log("error", `a request failed: ${describeFailure(error, "variables").message}`);
      send(request, response, plain(500, "internal error"));
    }
  }

  return {
    get address() {
      const address = current?.server.address() as AddressInfo | null | undefined;
      return address ? { host: address.address, port: address.port } : undefined;
    },
    async listen(config) {
      const before = current;
      const isSamePlace =
        before !== undefined &&
        config !== undefined &&
        before.config.host === config.host &&
        before.config.port === config.port;
      if (isSamePlace) {
        before.config = config;
        return;
      }
      if (config === undefined) current = undefined;
      else {
        const server = await start(config);
        current = { server, connections: boundConnections(server, CONNECTIONS), config };
      }
      if (before !== undefined) await stop(before.server);
    },
    async close() {
      const { server } = current ?? {};
      statusStream.close();
      if (server !== undefined) await stop(server);
    },
  };
}

function stop(server: Server): Promise<void> {
  return new Promise((resolve) => {
    server.close(() => resolve());
    server.closeIdleConnections();
    setTimeout(() => server.closeAllConnections(), 500).unref();
  });
}

/** Bytes of a body that are read and thrown away after the answer, so that the caller gets to see it. */
const SHORT = 1 << 16;

function isShort({ headers }: IncomingMessage): boolean {
  if (headers["transfer-encoding"] !== undefined) return false;
  return Number(headers["content-length"] ?? 0) <= SHORT;
}

function send(request: IncomingMessage, response: ServerResponse, reply: Reply): void {
  if (response.headersSent) return;
  const { status, body, type = "application/json", headers } = reply;
  response.writeHead(status, {
    ...HEADERS,
    "content-type": type,
    "content-length": Buffer.byteLength(body),
    ...(request.complete || isShort(request) ? {} : { connection: "close" }),
    ...headers,
  });
  response.end(request.method === "HEAD" ? undefined : body);
}
