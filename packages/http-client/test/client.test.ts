import { mkdtemp, rename, rm, writeFile } from "node:fs/promises";
import { STATUS_CODES } from "node:http";
import type { Socket } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { inspect } from "node:util";
import { setFlagsFromString } from "node:v8";
import { runInNewContext } from "node:vm";
import { SourceError, UsageError } from "@pannier/core/adapter";
import { describe, expect, onTestFinished, test } from "vitest";
import { makeIdentity, serve, serveProxy, serveRaw, serveTls } from "./servers.ts";
import { client, failure } from "./client.ts";
import { connectionError, readBytes, readText } from "../src/index.ts";

async function scratch(): Promise<string> {
  const path = await mkdtemp(join(tmpdir(), "pannier-http-"));
  onTestFinished(() => rm(path, { recursive: true }));
  return path;
}

test("sends what it was given and asks for bytes as they are stored", async () => {
  const origin = await serve((request, response) => {
    response.setHeader("x-echo", "1");
    request.pipe(response.writeHead(201, { "content-type": request.headers["accept-encoding"] }));
  });
  const response = await client().request(`${origin}/a?b=c`, { method: "POST", body: "hello" });
  expect(response.status).toBe(201);
  expect(response.headers).toMatchObject({ "x-echo": "1", "content-type": "identity" });
  expect(await readText(response.body, 5)).toBe("hello");
});

test("uses connections again", async () => {
  const ports = new Set<number | undefined>();
  const origin = await serve((request, response) => {
    ports.add(request.socket.remotePort);
    response.end("x");
  });
  const http = client();
  for (let i = 0; i < 5; i++) await readText((await http.request(origin)).body, 9);
  await (await http.request(origin)).discard();
  await (await http.request(origin)).discard();
  // Two: the pool may open another while it checks that an idle one is still alive.
  expect(ports.size).toBeLessThanOrEqual(2);
});

describe.each([
  ["ends", (socket: Socket) => socket.end()],
  ["resets", (socket: Socket) => socket.resetAndDestroy()],
] as const)("a server that %s a connection", (_verb, stop) => {
  test.each([
    ["a GET is asked again, once", "GET", undefined, ["get", "get", "get"], /^the third$/],
    [
      "a PROPFIND as well",
      "PROPFIND",
      "<propfind/>",
      ["get", "propfind", "propfind"],
      /^the third$/,
    ],
    ["a POST is not", "POST", "x", ["get", "post"], /^unavailable: .*the connection broke/],
  ] as const)("which idles, just as it is used: %s", async (_, method, body, expected, outcome) => {
    let requests = 0;
    const origin = await serve((request, response) => {
      if (++requests === 2) stop(request.socket);
      else response.end(requests === 1 ? "the first" : "the third");
    });
    const sent: string[] = [];
    const http = client({ connections: 1, onRequest: (operation) => sent.push(operation) });
    await readText((await http.request(origin)).body, 99);
    const answer = http
      .request(origin, { method, body })
      .then((response) => readText(response.body, 99))
      .catch((error: SourceError) => `${error.code}: ${error.message}`);
    expect(await answer).toMatch(outcome);
    expect(sent).toEqual(expected);
  });

  test("after its first answer, each time, is not asked for ever", async () => {
    let requests = 0;
    const origin = await serve((request, response) => {
      if (++requests === 1) response.end("x");
      else stop(request.socket);
    });
    const http = client({ connections: 1 });
    await readText((await http.request(origin)).body, 9);
    expect((await failure(http.request(origin))).code).toBe("unavailable");
    expect(requests).toBe(3);
  });
});

test("refuses an answer larger than allowed", async () => {
  const origin = await serve((_, response) => response.end(Buffer.alloc(100_000)));
  const { body } = await client().request(origin);
  expect((await failure(readBytes(body, 99_999))).code).toBe("invalid");
});

test("refuses text that is not UTF-8", async () => {
  const origin = await serve((_, response) => response.end(Buffer.from([0xff, 0xfe])));
  const { body } = await client().request(origin);
  expect((await failure(readText(body, 10))).code).toBe("invalid");
});

test.each([
  [401, "auth", false],
  [403, "auth", false],
  [404, "not-found", false],
  [410, "not-found", false],
  [412, "changed", false],
  [418, "unavailable", false],
  [429, "throttled", true],
  [500, "unavailable", true],
  [503, "unavailable", true],
])("translates status %i to %s", async (status, code, transient) => {
  const origin = await serve((_, response) => response.writeHead(status).end("secret words"));
  const error = await failure(client().request(`${origin}/x?token=hush`));
  expect(error).toMatchObject({ code, transient });
  expect(error.message).toBe(`the server answered ${status} ${STATUS_CODES[status]}`);
  expect(inspect(error, { depth: 9 })).not.toMatch(/hush|secret words/);
});

test("returns the statuses that were expected", async () => {
  const origin = await serve((_, response) => response.writeHead(304).end());
  const http = client();
  expect((await http.request(origin, { expect: [200, 304] })).status).toBe(304);
  expect((await http.request(origin, { expect: "any" })).status).toBe(304);
  expect((await failure(http.request(origin))).code).toBe("invalid");
});

test("reads Retry-After in seconds and as a date", async () => {
  const values = ["7", new Date(Date.now() + 60_000).toUTCString(), "soon"];
  const origin = await serve((_, response) =>
    response.writeHead(429, { "retry-after": values.shift() as string }).end(),
  );
  const http = client();
  expect((await failure(http.request(origin))).retryAfter).toBe(7000);
  const wait = (await failure(http.request(origin))).retryAfter as number;
  expect(wait).toBeGreaterThan(55_000);
  expect(wait).toBeLessThanOrEqual(60_000);
  expect((await failure(http.request(origin))).retryAfter).toBeUndefined();
});

test.each([
  ["Content-Length not reached", "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nabc"],
  ["chunks cut", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nab"],
  ["last chunk missing", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nab\r\n"],
])("fails a body that was cut short: %s", async (_, answer) => {
  const origin = await serveRaw(answer);
  const { body } = await client().request(origin);
  expect(await failure(readBytes(body, 100))).toMatchObject({
    code: "unavailable",
    transient: true,
  });
});

test.each([
  ["no HTTP", "SSH-2.0-OpenSSH_9.2\r\n", "unavailable"],
  ["nothing", "", "unavailable"],
  ["endless headers", `HTTP/1.1 200 OK\r\nX: ${"y".repeat(100_000)}\r\n\r\n`, "invalid"],
])("fails an answer that is none: %s", async (_, answer, code) => {
  const origin = await serveRaw(answer);
  expect((await failure(client().request(origin))).code).toBe(code);
});

test("gives up on a server that stays silent before its headers", async () => {
  const origin = await serveRaw(() => {});
  const error = await failure(client({ idleTimeout: 100 }).request(origin));
  expect(error).toMatchObject({ code: "unavailable", transient: true });
  expect(error.message).toContain("did not answer in time");
});

test("gives up on a server that stalls within a body", async () => {
  const origin = await serveRaw((socket) =>
    socket.write("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nabc"),
  );
  const { body } = await client({ idleTimeout: 100 }).request(origin);
  const error = await failure(readBytes(body, 100));
  expect(error).toMatchObject({ code: "unavailable", transient: true });
  expect(error.message).toContain("stopped sending");
});

test("a lane is told where to connect to, and whom to trust; not where a proxy is in between", async () => {
  const caFile = join(await scratch(), "ca.pem");
  await writeFile(caFile, "-----BEGIN one");
  const http = client({ credentials: { caFile }, env: { https_proxy: "http://proxy:1" } });
  const url = new URL("http://host:8080/a?b");
  const first = await http.direct(url);
  expect(first).toEqual({
    origin: "http://host:8080",
    tls: { version: expect.any(String), ca: "-----BEGIN one" },
  });
  expect(await http.direct(url)).toBe(first);
  await writeFile(caFile, "-----BEGIN another");
  const second = await http.direct(url);
  expect(second?.tls.ca).toBe("-----BEGIN another");
  expect(second?.tls.version).not.toBe(first?.tls.version);
  expect(await http.direct(new URL("https://host/"))).toBeUndefined();
});

test("gives a large body in pieces that have memory of their own, with TLS and without", async () => {
  const content = Buffer.from(Array.from({ length: 1_000_000 }, (_, index) => index % 251));
  const ca = await makeIdentity();
  const caFile = join(await scratch(), "ca.pem");
  await writeFile(caFile, ca.cert);
  const http = client({ credentials: { caFile } });
  for (const origin of [
    await serve((_, response) => response.end(content)),
    await serveTls(await makeIdentity(ca), (_, response) => response.end(content)),
  ]) {
    const { body } = await http.request(origin);
    const chunks: Uint8Array[] = [];
    for await (const chunk of body) chunks.push(chunk);
    expect(Buffer.concat(chunks).equals(content)).toBe(true);
    // Not those that came with the head of the answer.
    const own = chunks.filter(({ byteLength, buffer }) => byteLength === buffer.byteLength);
    expect(Buffer.concat(own).length).toBeGreaterThan(content.length / 4);
  }
});

test("does not take a slow reader for a stalled server", async () => {
  const origin = await serve((_, response) => response.end(Buffer.alloc(2_000_000)));
  const { body } = await client({ idleTimeout: 100 }).request(origin);
  let size = 0;
  for await (const chunk of body) {
    if (size === 0) await new Promise((resolve) => setTimeout(resolve, 400));
    size += chunk.byteLength;
  }
  expect(size).toBe(2_000_000);
});

test("reports a refused connection and an unknown host", async () => {
  const http = client();
  expect(await failure(http.request("http://127.0.0.1:9/x"))).toMatchObject({
    code: "unavailable",
    transient: true,
    message: "the connection was refused",
  });
  const error = await failure(http.request("http://no-such-host.invalid/"));
  expect(error.code).toBe("unavailable");
  expect(error.message).toMatch(/host name/);
});

test("names what was asked for only where it was told to, and the host that a redirect led to", async () => {
  const origin = await serve((_, response) =>
    response.writeHead(302, { location: "http://127.0.0.1:9/y?token=hush" }).end(),
  );
  const subject = "img/a.png";
  const direct = await failure(client().request("http://127.0.0.1:9/", { subject }));
  expect(direct.message).toBe("img/a.png: the connection was refused");
  const redirected = await failure(client().request(origin, { subject }));
  expect(redirected.message).toBe(
    "img/a.png: redirected to 127.0.0.1:9: the connection was refused",
  );
});

test("stops with the signal's reason: before, while waiting, within a body", async () => {
  const reason = new Error("enough");
  const http = client();
  await expect(
    http.request("http://127.0.0.1:9/", { signal: AbortSignal.abort(reason) }),
  ).rejects.toBe(reason);

  const waiting = new AbortController();
  const silent = await serveRaw(() => waiting.abort(reason));
  await expect(http.request(silent, { signal: waiting.signal })).rejects.toBe(reason);

  const reading = new AbortController();
  const stalled = await serveRaw((socket) =>
    socket.write("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nabc"),
  );
  const { body } = await http.request(stalled, { signal: reading.signal });
  const read = readBytes(body, 100);
  reading.abort(reason);
  await expect(read).rejects.toBe(reason);
});

test("a body given up early ends the connection, even before its first byte was read", async () => {
  const closed = Promise.withResolvers<void>();
  const origin = await serve((request, response) => {
    request.socket.on("close", () => closed.resolve());
    response.writeHead(200).write(Buffer.alloc(1_000_000));
  });
  const { body } = await client().request(origin);
  await body[Symbol.asyncIterator]().return?.();
  await expect(closed.promise).resolves.toBeUndefined();
});

test("follows redirects with what it may send along", async () => {
  const requests: string[] = [];
  const origin = await serve((request, response) => {
    requests.push(`${request.method} ${request.url} ${request.headers.authorization ?? "-"}`);
    if (request.url === "/a") response.writeHead(302, { location: "b?x=1#part" }).end("moved");
    else response.end("there");
  });
  const response = await client({ authorize: async () => ({ authorization: "mine" }) }).request(
    `${origin}/a`,
  );
  expect(await readText(response.body, 10)).toBe("there");
  expect(response.url.href).toBe(`${origin}/b?x=1`);
  expect(requests).toEqual(["GET /a mine", "GET /b?x=1 mine"]);
});

test("drops everything secret when a redirect changes the port, for good", async () => {
  const seen: Record<string, unknown>[] = [];
  let first = "";
  const second = await serve((request, response) => {
    seen.push(request.headers);
    response.writeHead(307, { location: `${first}/back` }).end();
  });
  first = await serve((request, response) => {
    if (request.url === "/back") {
      seen.push(request.headers);
      response.end("done");
    } else response.writeHead(301, { location: `${second}/` }).end();
  });
  const http = client({ authorize: async () => ({ authorization: "A", cookie: "B=C" }) });
  const headers = { "X-Api-Key": "D", Range: "bytes=1-", "If-None-Match": '"e"' };
  await (await http.request(`${first}/start`, { headers })).discard();
  expect(seen).toHaveLength(2);
  for (const headersSeen of seen) {
    expect(headersSeen).toMatchObject({ range: "bytes=1-", "if-none-match": '"e"' });
    expect(headersSeen).not.toHaveProperty("authorization");
    expect(headersSeen).not.toHaveProperty("cookie");
    expect(headersSeen).not.toHaveProperty("x-api-key");
  }
});

test.each([
  ["a loop", (url: string) => (url === "/1" ? "/2" : "/1"), "in a loop"],
  ["to itself", (url: string) => url, "in a loop"],
  ["too many", (url: string) => `${url}1`, "more than 10"],
  ["to a file", () => "file:///etc/passwd", "not an HTTP URL"],
  ["to nowhere", () => "http://", "not an HTTP URL"],
])("refuses redirects: %s", async (_, location, message) => {
  let count = 0;
  const origin = await serve((request, response) => {
    count++;
    response.writeHead(302, { location: location(request.url as string) }).end();
  });
  const error = await failure(client().request(`${origin}/1`));
  expect(error).toMatchObject({ code: "invalid" });
  expect(error.message).toContain(message);
  expect(count).toBeLessThanOrEqual(11);
});

test("leaves redirects alone where that is wanted", async () => {
  const origin = await serve((_, response) => response.writeHead(302, { location: "/x" }).end());
  const response = await client().request(origin, { redirect: "manual", expect: [302] });
  expect(response.headers["location"]).toBe("/x");
});

test("does not carry a body to another host", async () => {
  const bodies: string[] = [];
  const other = await serve((_, response) => response.end());
  const origin = await serve((request, response) => {
    request.on("data", (data: Buffer) => bodies.push(String(data)));
    const location = request.url === "/away" ? other : "/here";
    if (request.url === "/here") response.end();
    else response.writeHead(307, { location }).end();
  });
  const http = client();
  await (await http.request(`${origin}/near`, { method: "POST", body: "1" })).discard();
  expect(bodies).toEqual(["1", "1"]);
  const away = http.request(`${origin}/away`, { method: "POST", body: "2" });
  expect((await failure(away)).code).toBe("invalid");
});

test("trusts a CA file in addition to the system's, and takes a replaced one over", async () => {
  const [ca, other] = [await makeIdentity(), await makeIdentity()];
  const origin = await serveTls(await makeIdentity(ca), (_, response) => response.end("ok"));

  const untrusted = await failure(client().request(origin));
  expect(untrusted).toMatchObject({ code: "unavailable", transient: false });
  expect(untrusted.hint).toContain("credentials.caFile");

  const caFile = join(await scratch(), "ca.pem");
  await writeFile(caFile, other.cert);
  const http = client({ credentials: { caFile } });
  expect((await failure(http.request(origin))).transient).toBe(false);

  await writeFile(`${caFile}.new`, ca.cert);
  await rename(`${caFile}.new`, caFile);
  expect(await readText((await http.request(origin)).body, 9)).toBe("ok");
});

test("refuses a certificate for another name", async () => {
  const ca = await makeIdentity();
  const origin = await serveTls(await makeIdentity(ca), (_, response) => response.end());
  const caFile = join(await scratch(), "ca.pem");
  await writeFile(caFile, ca.cert);
  const error = await failure(
    client({ credentials: { caFile } }).request(origin.replace("127.0.0.1", "localhost")),
  );
  expect(error).toMatchObject({ code: "unavailable", transient: false });
  expect(error.hint).toContain("another host name");
});

test("shows a client certificate", async () => {
  const ca = await makeIdentity();
  const server = await makeIdentity(ca);
  const tls = { ...server, ca: ca.cert, requestCert: true, rejectUnauthorized: true };
  const origin = await serveTls(tls, (_, response) => response.end("known"));
  const folder = await scratch();
  const credentials = {
    caFile: join(folder, "ca"),
    clientCertFile: join(folder, "cert"),
    clientKeyFile: join(folder, "key"),
  };
  const mine = await makeIdentity(ca);
  await writeFile(credentials.caFile, ca.cert);
  await writeFile(credentials.clientCertFile, mine.cert);
  await writeFile(credentials.clientKeyFile, mine.key);
  const response = await client({ credentials }).request(origin);
  expect(await readText(response.body, 9)).toBe("known");

  const { caFile } = credentials;
  await failure(client({ credentials: { caFile } }).request(origin));
});

test("tells a server that wants a client certificate from one that broke", () => {
  const error = connectionError(
    Object.assign(new Error("error:0A00045C:SSL routines::tlsv13 alert certificate required"), {
      code: "ERR_SSL_TLSV13_ALERT_CERTIFICATE_REQUIRED",
    }),
  );
  expect(error).toMatchObject({ code: "auth", transient: false });
  expect(error.hint).toContain("credentials.clientCertFile");
});

test("names a certificate file that cannot be used", async () => {
  const folder = await scratch();
  const caFile = join(folder, "none.pem");
  const request = () => client({ credentials: { caFile } }).request("https://127.0.0.1:9/");
  await expect(request()).rejects.toThrow(UsageError);
  await writeFile(caFile, "no certificate");
  await expect(request()).rejects.toThrow("is not PEM");
});

test("reports TLS spoken to a plain server", async () => {
  const origin = await serve((_, response) => response.end());
  const error = await failure(client().request(origin.replace("http:", "https:")));
  expect(error).toMatchObject({ code: "unavailable", transient: false });
});

test("refuses to go from https to http", async () => {
  const ca = await makeIdentity();
  let asked = 0;
  const plain = await serve((_, response) => {
    asked++;
    response.end();
  });
  const origin = await serveTls(await makeIdentity(ca), (_, response) =>
    response.writeHead(302, { location: plain }).end(),
  );
  const caFile = join(await scratch(), "ca.pem");
  await writeFile(caFile, ca.cert);
  const error = await failure(client({ credentials: { caFile } }).request(origin));
  expect(error.message).toContain("from https to http");
  expect(asked).toBe(0);
});

test("goes through proxies: forwarded for http, tunnelled for https", async () => {
  const ca = await makeIdentity();
  const caFile = join(await scratch(), "ca.pem");
  await writeFile(caFile, ca.cert);
  const plain = await serve((_, response) => response.end("plain"));
  const tls = await serveTls(await makeIdentity(ca), (_, response) => response.end("tls"));
  const proxy = await serveProxy(`Basic ${Buffer.from("me:s3cret").toString("base64")}`);
  const withUser = proxy.url.replace("//", "//me:s3cret@");
  const http = client({
    credentials: { caFile },
    env: { http_proxy: withUser, HTTPS_PROXY: withUser },
  });
  expect(await readText((await http.request(`${plain}/a`)).body, 9)).toBe("plain");
  expect(await readText((await http.request(`${tls}/b`)).body, 9)).toBe("tls");
  expect(proxy.log).toEqual([`GET ${plain}/a`, `CONNECT ${new URL(tls).host}`]);

  const direct = client({ env: { http_proxy: withUser, no_proxy: "127.0.0.0/8" } });
  await (await direct.request(plain)).discard();
  expect(proxy.log).toHaveLength(2);

  for (const [origin, name] of [
    [plain, "http_proxy"],
    [tls, "https_proxy"],
  ] as const) {
    const anonymous = client({ env: { [name]: proxy.url } });
    const error = await failure(anonymous.request(origin));
    expect(error.code).toBe("auth");
    expect(error.message).toContain("proxy");

    const wrong = client({ env: { [name]: proxy.url.replace("//", "//me:wr0ng@") } });
    expect(inspect(await failure(wrong.request(origin)), { depth: 9 })).not.toContain("wr0ng");
  }
});

test("gives up on a proxy that does not answer", async () => {
  const proxy = await serveRaw(() => {});
  const http = client({ env: { https_proxy: proxy }, idleTimeout: 100 });
  expect((await failure(http.request("https://127.0.0.1:9/"))).code).toBe("unavailable");
});

test("counts every request that is sent", async () => {
  const operations: string[] = [];
  const origin = await serve((request, response) => {
    if (request.url === "/") response.writeHead(302, { location: "/x" }).end();
    else response.end();
  });
  const http = client({ onRequest: (operation) => operations.push(operation) });
  await (await http.request(origin, { operation: "list" })).discard();
  await (await http.request(`${origin}/x`, { method: "HEAD" })).discard();
  expect(operations).toEqual(["list", "list", "head"]);
});

/** An answer that ends, as does its connection, before anybody reads it. */
async function unreadUntilClosed(body: string): Promise<AsyncIterable<Uint8Array>> {
  const closed = Promise.withResolvers<void>();
  const head = `HTTP/1.1 200 OK\r\nContent-Length: ${LONG.length}\r\nConnection: close\r\n\r\n`;
  const origin = await serveRaw((socket) => {
    socket.write(head + body);
    socket.end(() => closed.resolve());
  });
  const answer = await client().request(origin);
  await closed.promise;
  // On the way within one machine, the end is there at once: the event loop has to come round to it.
  await turns(20);
  return answer.body;
}

const LONG = "a".repeat(1 << 20);

/** Waits for so many turns of the event loop. */
async function turns(count: number): Promise<void> {
  for (let i = 0; i < count; i++) await new Promise(setImmediate);
}

test("a server that closes while its answer waits to be read loses nothing of it", async () => {
  expect(await readText(await unreadUntilClosed(LONG), LONG.length)).toBe(LONG);
});

test("a server that closes too early while its answer waits to be read is a broken connection", async () => {
  const reading = readText(await unreadUntilClosed(LONG.slice(1000)), LONG.length);
  expect(await failure(reading)).toMatchObject({ code: "unavailable", transient: true });
});

test("a server that is read slowly is held back", async () => {
  let written = 0;
  const origin = await serveRaw((socket) => {
    socket.write(`HTTP/1.1 200 OK\r\nContent-Length: ${64 * LONG.length}\r\n\r\n`);
    const more = () => {
      while (written < 64 * LONG.length && !socket.destroyed) {
        written += LONG.length;
        if (!socket.write(LONG)) return void socket.once("drain", more);
      }
    };
    more();
  });
  const { body } = await client().request(origin);
  const reader = body[Symbol.asyncIterator]();
  await reader.next();
  // The server writes no more: it is held back, or has written all.
  for (let before = -1; before !== written;) {
    before = written;
    await turns(100);
  }
  expect(written).toBeLessThan(32 * LONG.length);
  let read = 0;
  for (let part = await reader.next(); part.done !== true; part = await reader.next())
    read += part.value.length;
  expect(read).toBeGreaterThan(63 * LONG.length);
  expect(written).toBe(64 * LONG.length);
});

test("what was read of an answer in pieces is not held, nor is it read ahead", async () => {
  setFlagsFromString("--expose-gc");
  const collect = runInNewContext("gc") as () => void;
  const piece = Buffer.alloc(75_000, "x");
  const origin = await serve((_, response) => {
    const more = () => {
      while (!response.destroyed && response.write(piece));
      if (!response.destroyed) response.once("drain", more);
    };
    more();
  });
  const { body } = await client().request(origin);
  const parts = body[Symbol.asyncIterator]();
  let before = 0;
  for (let read = 0; read <= 24 << 20;) {
    const part = await parts.next();
    if (read === 0) before = process.memoryUsage().arrayBuffers;
    read += (part.value as Uint8Array).byteLength;
    // As long as it takes to write them.
    await sleep(2);
  }
  // Memory is given back some time after it was collected.
  const held = () => {
    collect();
    return process.memoryUsage().arrayBuffers - before;
  };
  await expect.poll(held).toBeLessThan(10 << 20);
  await parts.return?.();
});
