/** Whole answers, in pieces of any length: what a lane takes, Node's client (llhttp) takes from the same bytes, and reads the same. */
import { Agent, request } from "node:http";
import type { Socket } from "node:net";
import { setImmediate as turn } from "node:timers/promises";
import type { FileEntry, Sink } from "@pannier/core/adapter";
import * as fc from "fast-check";
import { expect, test } from "vitest";
import { openHttpLane } from "../src/lane/lane.ts";
import { serveRaw } from "./servers.ts";

const SEED = Number(process.env["PANNIER_SEED"] ?? Date.now() % 2 ** 31);
const RUNS = Number(process.env["PANNIER_TEST_ANSWERS"] ?? 1500);

const MOST = 64;

const body = fc.stringMatching(/^[a-f\r\n]{0,12}$/);
/** One that is right, most of the time. */
const mostly = <Value>(right: Value, ...wrong: readonly Value[]) =>
  fc.oneof(
    { weight: 9, arbitrary: fc.constant(right) },
    { weight: 1, arbitrary: fc.constantFrom(...wrong) },
  );

const end = mostly("\r\n", "\n", "\r");
const status = mostly(
  "HTTP/1.1 200 OK",
  "HTTP/1.1 200",
  "HTTP/1.0 200 OK",
  "HTTP/1.1 206 Part",
  "HTTP/1.1 204 None",
  "HTTP/1.1 304 Same",
);
const other = fc.constantFrom(
  "ETag: x",
  "X:  y",
  "Connection: close",
  "connection: Keep-Alive",
  "Content-Encoding: gzip",
  "Transfer-Encoding: chunked",
  "Transfer-Encoding: identity",
  "Trailer: X",
  "Content-Length: 3",
  " folded",
  "X",
);
/** Lengths that are right, and such as are not. */
const length = mostly<(bytes: number) => string | undefined>(
  String,
  (bytes: number) => String(bytes + 1),
  (bytes: number) => String(Math.max(bytes - 1, 0)),
  (bytes: number) => `0${bytes}`,
  (bytes: number) => `+${bytes}`,
  (bytes: number) => `${bytes}, ${bytes}`,
  () => String(2 ** 53),
  () => String(2n ** 64n),
  () => undefined,
);
const before = mostly(
  "",
  "\r\n",
  "HTTP/1.1 100 Continue\r\n\r\n",
  "HTTP/1.1 102 Wait\r\nX: y\r\n\r\n".repeat(50),
);
const after = mostly("", "\r\n", "x", "HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\nx");
const chunked = (text: string, size: string) => `${size}\r\n${text}\r\n0\r\n\r\n`;
const content = fc.oneof(
  { weight: 6, arbitrary: body },
  {
    weight: 1,
    arbitrary: fc
      .tuple(body, fc.constantFrom("", "20000000000000", "ffffffffffffffff", "-1"))
      .map(([text, size]) => chunked(text, size === "" ? text.length.toString(16) : size)),
  },
);

const answers = fc
  .record({
    before,
    status,
    lines: fc.array(other, { maxLength: 2 }),
    length,
    ends: fc.array(end, { minLength: 5, maxLength: 5 }),
    content,
    after,
    cut: mostly(0, 1, 2, 5, 20),
  })
  .map((parts) => {
    const told = parts.length(parts.content.length);
    const lines = [
      parts.status,
      ...(told === undefined ? [] : [`Content-Length: ${told}`]),
      ...parts.lines,
      "",
    ];
    const head = lines.map((line, at) => `${line}${parts.ends[at]}`).join("");
    const whole = `${parts.before}${head}${parts.content}${parts.after}`;
    return whole.slice(0, whole.length - parts.cut);
  });

/** Reads one file by a lane; `undefined` where it leaves it. */
async function byLane(origin: string): Promise<string | undefined> {
  const lane = openHttpLane<unknown>(
    {
      target: () => ({ origin, tls: { version: "" } }),
      request: () => ({ path: "/a", headers: {}, judge: () => ({ digest: undefined }) }),
    },
    { idleTimeout: 5000, atOnce: 1, mostUnlisted: MOST },
  );
  let got: string | undefined;
  const sink: Sink = {
    stopped: false,
    put: (_, bytes) => void (got = Buffer.from(bytes).toString("latin1")),
    begin: () => ({ write: () => false, end: () => {}, drop: () => {} }),
    failed: () => {},
    request: () => {},
  };
  const entry: FileEntry = { kind: "file", path: "a", size: undefined, fingerprint: "1" };
  const controller = new AbortController();
  await lane.read({ files: [entry], data: undefined }, sink, controller.signal);
  controller.abort();
  return got;
}

/** The same by Node's client. */
function byNode(origin: string): Promise<string | undefined> {
  return new Promise((resolve) => {
    const agent = new Agent({ keepAlive: true });
    const asking = request(origin, { agent }, (answer) => {
      let got = "";
      answer.setEncoding("latin1").on("data", (text: string) => (got += text));
      answer.on("error", () => resolve(undefined));
      answer.on("end", () => resolve(answer.complete ? got : undefined));
      answer.on("close", () => agent.destroy());
    });
    asking.on("error", () => resolve(undefined)).on("upgrade", () => resolve(undefined));
    asking.end();
  });
}

test(`${RUNS} answers (seed ${SEED})`, { timeout: 60_000 + RUNS * 20 }, async () => {
  let pieces: readonly string[] = [];
  const origin = await serveRaw(async (socket: Socket) => {
    socket.setNoDelay(true);
    for (const piece of pieces) {
      if (socket.destroyed) return;
      await new Promise((resolve) => socket.write(piece, "latin1", resolve));
      await turn();
    }
    socket.end();
  });
  let taken = 0;
  await fc.assert(
    fc.asyncProperty(answers, fc.array(fc.nat(), { maxLength: 4 }), async (text, cuts) => {
      const at = [...cuts.map((cut) => cut % (text.length + 1)), 0, text.length];
      at.sort((a, b) => a - b);
      pieces = at.slice(1).map((stop, index) => text.slice(at[index], stop));
      const got = await byLane(origin);
      if (got === undefined) return;
      taken++;
      expect(await byNode(origin), JSON.stringify(pieces)).toBe(got);
    }),
    { numRuns: RUNS, seed: SEED },
  );
  // It does not leave everything.
  expect(taken).toBeGreaterThan(RUNS / 10);
});
