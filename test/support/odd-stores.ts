/** What the tests of object stores share that speak in their own way, and of some that mean harm. */
import type { IncomingMessage, ServerResponse } from "node:http";
import { listAll, openSource, readAll } from "@pannier/adapter-kit";
import type { SourceSpec } from "@pannier/core/adapter";
import { expect, onTestFinished, test } from "vitest";
import { serve } from "../../packages/http-client/test/servers.ts";

/** @param count of the requests before */
export type Answer = (
  response: ServerResponse,
  request: IncomingMessage,
  url: URL,
  count: number,
) => void;

type Opened = Awaited<ReturnType<typeof openAnswering>>;

/** A source on a server that answers so. */
export async function openAnswering(answer: Answer, spec: (endpoint: string) => SourceSpec) {
  let count = 0;
  const endpoint = await serve((request, response) => {
    response.on("error", () => {});
    answer(response, request, new URL(request.url ?? "", "http://server"), count++);
  });
  const opened = await openSource(spec(endpoint));
  onTestFinished(() => opened.close());
  return { ...opened, host: new URL(endpoint).host };
}

/** Sends without end, as fast as it is read. */
export function pour(response: ServerResponse, piece: string): void {
  const more = () => {
    while (!response.destroyed && response.write(piece));
    if (!response.destroyed) response.once("drain", more);
  };
  more();
}

/** An hour ago: nobody takes it for "just now". */
export const OLD = new Date(Date.now() - 3_600_000);

/** An object whose listing and content tell what they are told to. */
export interface OddObject {
  /** ETags. */
  listed: string | undefined;
  served: string | undefined;
  modified: Date;
  body: string;
  /** How a condition is answered, if it is not taken. */
  condition?: 412 | 501;
}

/** Sends the content, or the head of it. */
export function sendObject(response: ServerResponse, object: OddObject, method = "GET"): void {
  const { served, modified, body } = object;
  response.writeHead(200, {
    ...(served === undefined ? {} : { etag: served }),
    "last-modified": modified.toUTCString(),
    "content-length": body.length,
  });
  response.end(method === "HEAD" ? undefined : body);
}

/**
 * Tests with ETags of all kinds.
 *
 * @param cases in words, and how an object has them
 * @param open opens a source of the object, named `a`
 * @param mark makes an ETag another one; of what is none it is not asked
 */
export function testETags(
  cases: readonly (readonly [string, Partial<OddObject>])[],
  open: (object: OddObject, options?: { marker: string }) => Promise<Opened>,
  mark: (etag: string) => string,
): void {
  test.each(cases)(
    "an ETag that is %s: what is listed is read, and a change is seen",
    async (_, given) => {
      const object: OddObject = {
        listed: "",
        served: "",
        modified: OLD,
        body: "hello\n",
        ...given,
      };
      const { source } = await open(object);
      const before = (await listAll(source)).file("a");
      expect(before.fingerprint).not.toBe("");
      expect((await listAll(source)).file("a").fingerprint).toBe(before.fingerprint);
      expect(String(await readAll(source, before))).toBe("hello\n");

      // As an update of equal size, that is: all that may tell is the date.
      object.modified = new Date(OLD.getTime() + 5000);
      object.body = "HELLO\n";
      for (const kind of ["listed", "served"] as const) {
        const etag = object[kind];
        if (etag !== undefined && /\w/.test(etag.replaceAll("&quot;", "")))
          object[kind] = mark(etag);
      }
      await expect(readAll(source, before)).rejects.toMatchObject({ code: "changed" });
      const after = (await listAll(source)).file("a");
      expect(after.fingerprint).not.toBe(before.fingerprint);
      expect(String(await readAll(source, after))).toBe("HELLO\n");
    },
  );

  test("a marker without an ETag tells a change by its date", async () => {
    const { signal } = new AbortController();
    const object: OddObject = { listed: "", served: undefined, modified: OLD, body: "one" };
    const { source } = await open(object, { marker: "a" });
    const first = await source.probe(signal);
    expect(await source.probe(signal)).toEqual(first);
    object.modified = new Date(OLD.getTime() + 5000);
    expect(await source.probe(signal)).not.toEqual(first);
  });
}

/**
 * Tests with a server that gets no further.
 *
 * @param open a source on a server that answers with this, by the count of requests before
 * @param page of these keys; goes on by the token, if that is not empty
 */
export function testEndlessListings(
  open: (answer: (count: number) => string) => Promise<Opened>,
  page: (keys: readonly string[], token: string) => string,
): void {
  test.each<[string, (count: number) => string, RegExp]>([
    ["pages that are empty, for ever", (n) => page([], `t${n}`), /page after page/],
    ["two tokens in turn", (n) => page([], `t${n % 2}`), /page after page/],
    ["one token", () => page([], "t"), /goes on where it was/],
    ["one page in turn", (n) => page(["a"], `t${n}`), /lists "a" twice/],
    ["a key twice", () => page(["a", "a"], ""), /lists "a" twice/],
    ["keys out of order", () => page(["b", "a"], ""), /"a" after "b"/],
  ])("a listing that gets no further is the server's fault: %s", async (_, answer, words) => {
    const { source, host } = await open(answer);
    await expect(listAll(source)).rejects.toMatchObject({
      code: "invalid",
      transient: false,
      message: expect.stringMatching(words),
    });
    await expect(listAll(source)).rejects.toThrow(host);
  });
}
