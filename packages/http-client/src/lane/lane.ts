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
  Sink,
  Writing,
} from "@pannier/core/adapter";
import { type Connection, connect, type LaneTarget, type Receiver } from "./connection.ts";
import type { Head } from "./head.ts";

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
  /** In the order in which they came. */
  let queue: Job[] = [];
  let first = 0;
  const connections = new Set<Connection>();
  const idle: Connection[] = [];
  /** Of all connections: they are let go when files are elsewhere. */
  let target: LaneTarget | undefined;
  let busy = 0;
  let parts = 0;
  let heeded = false;
  let timer: NodeJS.Timeout | undefined;

  function finished(job: Job): void {
    if (--job.batch.left === 0) job.batch.over();
  }

  function next(): Job | undefined {
    if (first === queue.length) return undefined;
    const job = queue[first++];
    if (first > 1000) {
      queue = queue.slice(first);
      first = 0;
    }
    return job;
  }

  /** Nothing of what waits is asked for: the server is not there, or silent. */
  function giveUp(): void {
    for (let job = next(); job !== undefined; job = next()) finished(job);
  }

  function open(wanted: LaneTarget): Connection {
    const connection: Connection = connect(wanted, idleTimeout, {
      idle() {
        if (isSame(target, wanted)) idle.push(connection);
        else connection.close();
        pump();
      },
      gone(everConnected) {
        connections.delete(connection);
        const at = idle.indexOf(connection);
        if (at !== -1) idle.splice(at, 1);
        if (!everConnected) giveUp();
        // Not from here: it may be one of many that end now.
        setImmediate(pump);
      },
    });
    connections.add(connection);
    return connection;
  }

  function pump(): void {
    while (busy < atOnce) {
      const job = next();
      if (job === undefined) break;
      const { batch, entry } = job;
      const asked = batch.sink.stopped
        ? undefined
        : lane.request(entry, batch.data as Data, undefined);
      const text = asked === undefined ? undefined : textOf(asked, batch.target);
      if (asked === undefined || text === undefined) {
        finished(job);
        continue;
      }
      // A second time not on one that has idled as well.
      const connection = connectionTo(batch.target, job.tries === 0);
      busy++;
      batch.sink.request("read");
      connection.send(text, receive(job, asked));
    }
    watch();
  }

  function connectionTo(wanted: LaneTarget, mayBeKept: boolean): Connection {
    if (!isSame(target, wanted)) {
      for (const connection of idle.splice(0)) connection.close();
      target = wanted;
    }
    return (mayBeKept ? idle.pop() : undefined) ?? open(wanted);
  }

  function watch(): void {
    if (busy + parts > 0) timer ??= setInterval(look, LOOK);
    else if (timer !== undefined) {
      clearInterval(timer);
      timer = undefined;
    }
  }

  function look(): void {
    const now = performance.now();
    let silent = false;
    for (const connection of connections) silent = !connection.check(now) || silent;
    if (silent) giveUp();
  }

  function onAbort(): void {
    giveUp();
    for (const connection of connections) connection.close();
  }

  function receive(job: Job, asked: LaneRequest): Receiver {
    const { batch, index, entry } = job;
    const { sink } = batch;
    let digest: Digest | undefined;
    let writing: Writing | undefined;
    let throttled = false;
    let isOurs = true;
    return {
      head(head) {
        throttled = THROTTLES.has(head.status);
        const { size = head.length } = entry;
        if (head.status !== 200 || head.length !== size) return false;
        isOurs = size <= (asked.most ?? (entry.size === undefined ? mostUnlisted : Infinity));
        if (!isOurs) return false;
        const judged = asked.judge(head);
        digest = judged?.digest;
        return judged !== undefined;
      },
      whole(body) {
        busy--;
        sink.put(index, body, digest);
        finished(job);
      },
      piece(bytes) {
        writing ??= sink.begin(index, digest);
        return writing.write(bytes);
      },
      end() {
        busy--;
        writing?.end();
        finished(job);
      },
      fail(untouched) {
        busy--;
        writing?.drop();
        if (untouched && job.tries++ === 0 && !sink.stopped) queue.push(job);
        else {
          if (isOurs) sink.failed(index, throttled ? "throttled" : "unavailable");
          finished(job);
        }
      },
    };
  }

  return {
    read({ files, data }: LaneBatch, sink, signal) {
      if (files.length === 0) return;
      const where = lane.target(data as Data);
      return new Promise((resolve) => {
        const batch: Batch = { data, target: where, sink, left: files.length, over: resolve };
        files.forEach((entry, index) => queue.push({ index, entry, batch, tries: 0 }));
        if (!heeded) signal.addEventListener("abort", onAbort, { once: true });
        heeded = true;
        pump();
      });
    },
    readPart({ entry, range, data }, sink, signal) {
      const where = lane.target(data as Data);
      const asked = sink.stopped ? undefined : lane.request(entry, data as Data, range);
      const text = asked === undefined ? undefined : textOf(asked, where);
      if (asked === undefined || text === undefined) return;
      return new Promise((resolve) => {
        const send = (mayBeKept: boolean) => {
          const connection = connectionTo(where, mayBeKept);
          const giveUpPart = () => connection.close();
          signal.addEventListener("abort", giveUpPart, { once: true });
          const over = () => {
            signal.removeEventListener("abort", giveUpPart);
            parts--;
            resolve();
          };
          let throttled = false;
          const receiver: Receiver = {
            head(head) {
              throttled = THROTTLES.has(head.status);
              return isPart(head, range, entry.size) && asked.judge(head) !== undefined;
            },
            whole(body) {
              sink.write(body);
              over();
            },
            piece: (bytes) => sink.write(bytes),
            end: over,
            fail(untouched) {
              if (!(untouched && mayBeKept) || sink.stopped) {
                sink.failed(throttled ? "throttled" : "unavailable");
                return over();
              }
              signal.removeEventListener("abort", giveUpPart);
              parts--;
              send(false);
            },
          };
          parts++;
          sink.request("read");
          connection.send(text, receiver);
          watch();
        };
        send(true);
      });
    },
    allow(count) {
      atOnce = count;
      pump();
    },
  };
}

function isSame(a: LaneTarget | undefined, b: LaneTarget): boolean {
  return a?.origin === b.origin && a.tls.version === b.tls.version;
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
