/** What the lane's reader takes, llhttp takes too, and reads in the same way. */
import { Agent, type IncomingMessage, request } from "node:http";
import { Duplex } from "node:stream";
import * as fc from "fast-check";
import { describe, expect, test } from "vitest";
import { parseHead } from "./head.ts";

const SEED = Number(process.env["PANNIER_SEED"] ?? Date.now() % 2 ** 31);
const RUNS = Number(process.env["PANNIER_TEST_HEADS"] ?? 3000);

describe("takes", () => {
  test.each([
    ["a plain head", "HTTP/1.1 200 OK\r\nContent-Length: 2", 2, true],
    ["no reason", "HTTP/1.1 200\r\nContent-Length: 2", 2, true],
    ["blanks around a value", "HTTP/1.1 200 OK\r\nContent-Length: \t2 \t", 2, true],
    ["no blank", "HTTP/1.1 200 OK\r\ncontent-length:0", 0, true],
    ["a last answer", "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close", 2, false],
    ["one of more words", "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: a, b", 2, false],
    ["another status", "HTTP/1.1 404 No\r\nContent-Length: 2", 2, true],
  ])("%s", (_, text, length, keepAlive) => {
    expect(parseHead(text)).toMatchObject({ length, keepAlive });
  });

  test("names in any case, and joins what may be repeated", () => {
    const head = parseHead('HTTP/1.1 200 OK\r\nETag: "a"\r\nX-A: 1\r\nContent-Length: 2\r\nx-a: 2');
    expect({ ...head?.headers }).toEqual({ etag: '"a"', "x-a": "1,2", "content-length": "2" });
    expect(
      parseHead("HTTP/1.1 200 OK\r\n__proto__: x\r\nContent-Length: 0")?.headers["toString"],
    ).toBeUndefined();
  });
});

describe("refuses", () => {
  const good = "HTTP/1.1 200 OK\r\nContent-Length: 2";
  test.each([
    ["HTTP/1.0", "HTTP/1.0 200 OK\r\nContent-Length: 2"],
    ["HTTP/2", "HTTP/2 200 OK\r\nContent-Length: 2"],
    ["an interim answer", "HTTP/1.1 100 Continue\r\nContent-Length: 2"],
    ["an upgrade", "HTTP/1.1 101 Go\r\nContent-Length: 2"],
    ["a status that is none", "HTTP/1.1 20 OK\r\nContent-Length: 2"],
    ["a status of four digits", "HTTP/1.1 2000 OK\r\nContent-Length: 2"],
    ["two blanks before the status", "HTTP/1.1  200 OK\r\nContent-Length: 2"],
    ["a line before it", `\r\n${good}`],
    ["no length", "HTTP/1.1 200 OK\r\nETag: x"],
    ["chunks", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked"],
    ["chunks beside a length", `${good}\r\nTransfer-Encoding: chunked`],
    ["a coding beside a length", `${good}\r\nTransfer-Encoding: identity`],
    ["two lengths", `${good}\r\nContent-Length: 2`],
    ["two lengths that disagree", `${good}\r\nContent-Length: 3`],
    ["a list of lengths", "HTTP/1.1 200 OK\r\nContent-Length: 2, 2"],
    ["a sign", "HTTP/1.1 200 OK\r\nContent-Length: +2"],
    ["a length in hex", "HTTP/1.1 200 OK\r\nContent-Length: 0x2"],
    ["a length beyond what can be counted", `HTTP/1.1 200 OK\r\nContent-Length: ${"9".repeat(16)}`],
    ["an empty length", "HTTP/1.1 200 OK\r\nContent-Length: "],
    ["a blank before the colon", "HTTP/1.1 200 OK\r\nContent-Length : 2"],
    ["a folded line", `${good}\r\nX: y\r\n z`],
    ["a line that begins with a blank", "HTTP/1.1 200 OK\r\n Content-Length: 2"],
    ["a line without a colon", `${good}\r\nnothing`],
    ["a line without a name", `${good}\r\n: x`],
    ["a bare LF", `${good}\r\nX: y\nEvil: z`],
    ["a bare CR", `${good}\r\nX: y\rEvil: z`],
    ["a NUL", `${good}\r\nX: \0`],
    ["two ETags", `${good}\r\nETag: "a"\r\nETag: "b"`],
    ["nothing", ""],
  ])("%s", (_, text) => {
    expect(parseHead(text)).toBeUndefined();
  });
});

/** What Node's client makes of an answer; `undefined` where it refuses it, or where it is not whole. */
function byNode(answer: Buffer): Promise<{ answer: IncomingMessage; body: Buffer } | undefined> {
  return new Promise((resolve) => {
    const socket = new Duplex({
      read() {},
      write(_chunk, _encoding, done) {
        done();
        setImmediate(() => {
          socket.push(answer);
          socket.push(null);
        });
      },
    });
    const agent = new Agent();
    agent.createConnection = () => socket as never;
    const asking = request({ agent, host: "x" }, (found) => {
      const chunks: Buffer[] = [];
      found.on("data", (chunk: Buffer) => chunks.push(chunk));
      found.on("error", () => resolve(undefined));
      found.on("end", () =>
        resolve(found.complete ? { answer: found, body: Buffer.concat(chunks) } : undefined),
      );
    });
    asking.on("error", () => resolve(undefined));
    asking.on("upgrade", () => resolve(undefined));
    asking.end();
  });
}

const odd = fc.constantFrom(
  "\r",
  "\n",
  "\0",
  "\t",
  " ",
  ":",
  ",",
  "\x7f",
  "\x80",
  "\xff",
  "a",
  "0",
);
const token = fc.constantFrom(
  "ETag",
  "X-A",
  "Content-Length",
  "content-length",
  "Connection",
  "Transfer-Encoding",
  "Last-Modified",
  "X(b",
  "__proto__",
  "",
);
const value = fc.oneof(
  fc.constantFrom(
    "2",
    "02",
    "2, 2",
    "+2",
    "-0",
    "0x2",
    "5",
    "chunked",
    "close",
    "keep-alive",
    "",
    '"a"',
    "identity",
  ),
  fc.array(odd, { maxLength: 4 }).map((parts) => parts.join("")),
);
const line = fc
  .tuple(token, fc.constantFrom(":", ": ", " :", ":\t", ""), value, fc.constantFrom("", " ", "\t"))
  .map((parts) => parts.join(""));
const status = fc.constantFrom(
  "HTTP/1.1 200 OK",
  "HTTP/1.1 200",
  "HTTP/1.1 206 Part",
  "HTTP/1.1 404 \xff",
  "HTTP/1.1 100 Continue",
  "HTTP/1.0 200 OK",
  "HTTP/1.1 200\tOK",
  "HTTP/1.1 2000 OK",
  "http/1.1 200 OK",
);
const heads = fc
  .tuple(
    status,
    fc.array(line, { maxLength: 3 }),
    fc.option(fc.constant("Content-Length: 2"), { nil: undefined, freq: 8 }),
    fc.option(fc.tuple(fc.nat(), odd), { nil: undefined }),
  )
  .map(([first, lines, length, change]) => {
    const text = [first, ...(length === undefined ? [] : [length]), ...lines].join("\r\n");
    if (change === undefined) return text;
    const at = change[0] % (text.length + 1);
    return text.slice(0, at) + change[1] + text.slice(at);
  });

test(
  `whatever is taken, Node's client reads in the same way (seed ${SEED})`,
  { timeout: 120_000 },
  async () => {
    let taken = 0;
    await fc.assert(
      fc.asyncProperty(heads, async (text) => {
        // What follows an empty line is no head any more.
        const head = parseHead(text.split("\r\n\r\n")[0] as string);
        if (head === undefined || text.includes("\r\n\r\n")) return;
        taken++;
        const body = Buffer.alloc(head.length > 1000 ? 0 : head.length, "x");
        if (body.length !== head.length) return;
        const found = await byNode(Buffer.concat([Buffer.from(`${text}\r\n\r\n`, "latin1"), body]));
        expect(found, JSON.stringify(text)).toBeDefined();
        expect(found?.answer.statusCode).toBe(head.status);
        expect(found?.body).toEqual(body);
        for (const [name, content] of Object.entries(head.headers)) {
          const theirs = found?.answer.headersDistinct[name]?.join(",");
          expect(theirs, JSON.stringify(text)).toBe(content);
        }
      }),
      { numRuns: RUNS, seed: SEED },
    );
    // The lines above do not refuse everything.
    expect(taken).toBeGreaterThan(RUNS / 50);
  },
);
