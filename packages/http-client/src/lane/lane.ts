/**
 * A lane of a store that is read by GETs: kept connections to one server, each with one request under way. An adapter says what to ask for each
 * file, and whether an answer is the right one; all else is left to its `read`.
 */
import type {
  Digest,
  FileEntry,
  Lane,
  LaneBatch,
  LaneContext,
  PartRange,
  PartSink,
  Sink,
  Writing,
} from "@pannier/core/adapter";
import type { LaneTarget, Receiver } from "./connection.ts";
import type { Head } from "./head.ts";
import { createPool } from "./pool.ts";

export interface LaneRequest {
  /** Path and query, as they are sent. */
  readonly path: string;
  /** By lower-case name; those of every request are added. */
  readonly headers: Readonly<Record<string, string>>;
  /** Bytes; a longer file is left to `read` without a word. */
  readonly most?: number | undefined;
  /**
   * Whether an answer is of the listed version of the file, and the digest that it vouches for, which is not asked of a part. That it is the whole file, or
   * the part, is looked at anyway.
   */
  judge(head: Head): { readonly digest: Digest | undefined } | undefined;
}

export interface HttpLane<Data> {
  /** Where the files of a batch are. */
  target(data: Data): LaneTarget;
  /**
   * What to ask for a file, or a part of one; `undefined`: it is for `read`.
   *
   * @param range of which the headers have to have {@link rangeHeaders}
   */
  request(entry: FileEntry, data: Data, range: PartRange | undefined): LaneRequest | undefined;
}

interface Job {
  readonly index: number;
  readonly entry: FileEntry;
  readonly batch: Batch;
  tries: number;
}

/** A request, and the text that is sent for it. */
interface Asked {
  readonly request: LaneRequest;
  readonly text: string;
}

interface Part {
  readonly entry: FileEntry;
  readonly range: PartRange;
  readonly target: LaneTarget;
  readonly asked: Asked;
  readonly sink: PartSink;
}

interface Batch {
  readonly data: unknown;
  readonly target: LaneTarget;
  readonly sink: Sink;
  left: number;
  over(): void;
}

/** Milliseconds between looks at connections that may have fallen silent. */
const LOOK = 500;

/** Too many requests; unavailable, as stores say of too many. */
const THROTTLES: ReadonlySet<number> = new Set([429, 503]);

/** What must not be in a request: it would begin another one. */
const UNSAFE = /[^\x21-\x7e]/;
const UNSAFE_VALUE = /[^\t\x20-\x7e\x80-\xff]/;

export function openHttpLane<Data>(lane: HttpLane<Data>, context: LaneContext): Lane {
  const { idleTimeout, mostUnlisted } = context;
  let { atOnce } = context;
  const queue = createQueue<Job>();
  let busy = 0;
  let parts = 0;
  let heeded = false;
  const pool = createPool(idleTimeout, {
    idle: pump,
    gone(everConnected) {
      if (!everConnected) giveUp();
      // Not from here: it may be one of many that end now.
      setImmediate(pump);
    },
  });

  const watch = repeat(LOOK, () => {
    if (!pool.check(performance.now())) giveUp();
  });

  /** Nothing of what waits is asked for: the server is not there, or silent. */
  function giveUp(): void {
    for (let job = queue.next(); job !== undefined; job = queue.next()) finished(job);
  }

  function pump(): void {
    while (busy < atOnce) {
      const job = queue.next();
      if (job === undefined) break;
      const { sink, target, data } = job.batch;
      const asked = sink.stopped ? undefined : ask(lane, job.entry, data as Data, target);
      if (asked === undefined) {
        finished(job);
        continue;
      }
      // A second time not on one that has idled as well.
      const connection = pool.take(target, job.tries === 0);
      busy++;
      sink.request("read");
      const receiver = fileReceiver(job, asked.request, mostUnlisted, (outcome) => {
        busy--;
        if (outcome === "done") return finished(job);
        job.tries++;
        queue.push(job);
      });
      connection.send(asked.text, receiver);
    }
    watch(busy + parts > 0);
  }

  /** @param first whether this is the first try, which may use a kept connection */
  function sendPart(part: Part, signal: AbortSignal, first: boolean, over: () => void): void {
    const connection = pool.take(part.target, first);
    const onAbortOfPart = () => connection.close();
    signal.addEventListener("abort", onAbortOfPart, { once: true });
    parts++;
    part.sink.request("read");
    const receiver = partReceiver(part, first, (outcome) => {
      signal.removeEventListener("abort", onAbortOfPart);
      parts--;
      if (outcome === "done") over();
      else sendPart(part, signal, false, over);
    });
    connection.send(part.asked.text, receiver);
    watch(busy + parts > 0);
  }

  function onAbort(): void {
    giveUp();
    pool.close();
  }

  return {
    read({ files, data }: LaneBatch, sink, signal) {
      if (files.length === 0) return;
      const target = lane.target(data as Data);
      return new Promise((resolve) => {
        const batch: Batch = { data, target, sink, left: files.length, over: resolve };
        files.forEach((entry, index) => queue.push({ index, entry, batch, tries: 0 }));
        if (!heeded) signal.addEventListener("abort", onAbort, { once: true });
        heeded = true;
        pump();
      });
    },
    readPart({ entry, range, data }, sink, signal) {
      const target = lane.target(data as Data);
      const asked = sink.stopped ? undefined : ask(lane, entry, data as Data, target, range);
      if (asked === undefined) return;
      return new Promise((resolve) =>
        sendPart({ entry, range, target, asked, sink }, signal, true, resolve),
      );
    },
    allow(count) {
      atOnce = count;
      pump();
    },
  };
}

function ask<Data>(
  lane: HttpLane<Data>,
  entry: FileEntry,
  data: Data,
  target: LaneTarget,
  range?: PartRange,
): Asked | undefined {
  const request = lane.request(entry, data, range);
  const text = request === undefined ? undefined : textOf(request, target);
  return request === undefined || text === undefined ? undefined : { request, text };
}

function finished({ batch }: Job): void {
  if (--batch.left === 0) batch.over();
}

/** What becomes of a request: `again` where the server had ended a kept connection before it came. */
type Over = (outcome: "done" | "again") => void;

/** Hands the answer for a whole file to the sink. */
function fileReceiver(
  { batch: { sink }, index, entry, tries }: Job,
  request: LaneRequest,
  mostUnlisted: number,
  over: Over,
): Receiver {
  let digest: Digest | undefined;
  let writing: Writing | undefined;
  let throttled = false;
  let isOurs = true;
  return {
    head(head) {
      throttled = THROTTLES.has(head.status);
      const { size = head.length } = entry;
      if (head.status !== 200 || head.length !== size) return false;
      isOurs = size <= (request.most ?? (entry.size === undefined ? mostUnlisted : Infinity));
      if (!isOurs) return false;
      const judged = request.judge(head);
      digest = judged?.digest;
      return judged !== undefined;
    },
    whole(body) {
      sink.put(index, body, digest);
      over("done");
    },
    piece(bytes) {
      writing ??= sink.begin(index, digest);
      return writing.write(bytes);
    },
    end() {
      writing?.end();
      over("done");
    },
    fail(untouched) {
      writing?.drop();
      if (untouched && tries === 0 && !sink.stopped) return over("again");
      if (isOurs) sink.failed(index, throttled ? "throttled" : "unavailable");
      over("done");
    },
  };
}

/** Hands the answer for a part of a file to the sink. */
function partReceiver(
  { entry, range, asked, sink }: Part,
  mayAskAgain: boolean,
  over: Over,
): Receiver {
  let throttled = false;
  return {
    head(head) {
      throttled = THROTTLES.has(head.status);
      return isPart(head, range, entry.size) && asked.request.judge(head) !== undefined;
    },
    whole(body) {
      sink.write(body);
      over("done");
    },
    piece: (bytes) => sink.write(bytes),
    end: () => over("done"),
    fail(untouched) {
      if (untouched && mayAskAgain && !sink.stopped) return over("again");
      sink.failed(throttled ? "throttled" : "unavailable");
      over("done");
    },
  };
}

/** Does something now and then, for as long as it is wanted. */
function repeat(milliseconds: number, work: () => void): (isWanted: boolean) => void {
  let timer: NodeJS.Timeout | undefined;
  return (isWanted) => {
    if (isWanted) timer ??= setInterval(work, milliseconds);
    else {
      clearInterval(timer);
      timer = undefined;
    }
  };
}

/** First in, first out, without moving the rest for each that goes. */
function createQueue<Item>() {
  let items: Item[] = [];
  let first = 0;
  return {
    push(item: Item): void {
      items.push(item);
    },
    next(): Item | undefined {
      if (first === items.length) return undefined;
      const item = items[first++];
      if (first > 1000) {
        items = items.slice(first);
        first = 0;
      }
      return item;
    },
  };
}

/** Nothing but the bytes that were asked for, of a file of the listed size (RFC 9110, 14.4). */
function isPart(
  { status, headers, length }: Head,
  range: PartRange,
  size: number | undefined,
): boolean {
  const last = range.offset + range.length - 1;
  return (
    status === 206 &&
    length === range.length &&
    headers["content-range"] === `bytes ${range.offset}-${last}/${size}`
  );
}

/** A request as it is sent; `undefined` where it cannot be. */
function textOf({ path, headers }: LaneRequest, { origin }: LaneTarget): string | undefined {
  if (UNSAFE.test(path)) return undefined;
  let text = `GET ${path} HTTP/1.1\r\nhost: ${hostOf(origin)}\r\nuser-agent: pannier`;
  if (headers["accept-encoding"] === undefined) text += "\r\naccept-encoding: identity";
  for (const name in headers) {
    const value = headers[name] as string;
    if (UNSAFE_VALUE.test(value)) return undefined;
    text += `\r\n${name}: ${value}`;
  }
  return text;
}

function hostOf(origin: string): string {
  return origin.slice(origin.indexOf("//") + 2);
}
