/** Servers on 127.0.0.1 for tests; all that a test started is stopped after it. */
import http, { type RequestListener } from "node:http";
import https from "node:https";
import net, { type AddressInfo, type Server, type Socket } from "node:net";
import { generate } from "selfsigned";
import { onTestFinished } from "vitest";

async function listen(server: Server): Promise<number> {
  const sockets = new Set<Socket>();
  server.on("connection", (socket: Socket) => {
    sockets.add(socket);
    socket.on("error", () => {}).on("close", () => sockets.delete(socket));
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  onTestFinished(async () => {
    for (const socket of sockets) socket.destroy();
    await new Promise((resolve) => server.close(resolve));
  });
  return (server.address() as AddressInfo).port;
}

/** An HTTP server; returns its origin. */
export async function serve(listener: RequestListener): Promise<string> {
  return `http://127.0.0.1:${await listen(http.createServer(listener))}`;
}

/** An HTTPS server; returns its origin. */
export async function serveTls(
  options: https.ServerOptions,
  listener: RequestListener,
): Promise<string> {
  return `https://127.0.0.1:${await listen(https.createServer(options, listener))}`;
}

/** A server that says exactly these bytes after each request head, or whatever the function does; returns its origin. */
export async function serveRaw(answer: string | ((socket: Socket) => void)): Promise<string> {
  const server = net.createServer((socket) => {
    socket.once("data", () => {
      if (typeof answer === "string") socket.end(answer);
      else answer(socket);
    });
  });
  return `http://127.0.0.1:${await listen(server)}`;
}

/** A forward proxy that also tunnels; returns its origin and what it was asked for. */
export async function serveProxy(authorization?: string): Promise<{ url: string; log: string[] }> {
  const log: string[] = [];
  const refused = (headers: http.IncomingHttpHeaders) =>
    authorization !== undefined && headers["proxy-authorization"] !== authorization;
  const server = http.createServer((request, response) => {
    log.push(`${request.method} ${request.url}`);
    if (refused(request.headers)) {
      response.writeHead(407).end();
      return;
    }
    const { "proxy-authorization": _, ...headers } = request.headers;
    http
      .request(request.url as string, { method: request.method ?? "GET", headers }, (answer) => {
        response.writeHead(answer.statusCode as number, answer.headers);
        answer.pipe(response);
      })
      .end();
  });
  server.on("connect", (request, socket: Socket) => {
    log.push(`CONNECT ${request.url}`);
    if (refused(request.headers)) {
      socket.end("HTTP/1.1 407 Proxy Authentication Required\r\n\r\n");
      return;
    }
    const [host = "", port = ""] = (request.url as string).split(":");
    const upstream = net.connect(Number(port), host, () => {
      socket.write("HTTP/1.1 200 OK\r\n\r\n");
      upstream.pipe(socket).pipe(upstream);
    });
    for (const end of [upstream, socket]) end.on("error", () => {});
    socket.on("close", () => upstream.destroy());
  });
  return { url: `http://127.0.0.1:${await listen(server)}`, log };
}

export interface Identity {
  readonly key: string;
  readonly cert: string;
}

/** A certificate authority, or a certificate for 127.0.0.1 issued by one. */
export async function makeIdentity(issuer?: Identity): Promise<Identity> {
  const { private: key, cert } = await generate(
    [{ name: "commonName", value: issuer === undefined ? "Test CA" : "127.0.0.1" }],
    {
      keyType: "ec",
      algorithm: "sha256",
      extensions:
        issuer === undefined
          ? [
              { name: "basicConstraints", cA: true, critical: true },
              { name: "keyUsage", keyCertSign: true, critical: true },
            ]
          : [{ name: "subjectAltName", altNames: [{ type: 7, ip: "127.0.0.1" }] }],
      ...(issuer === undefined ? {} : { ca: issuer }),
    },
  );
  return { key, cert };
}
