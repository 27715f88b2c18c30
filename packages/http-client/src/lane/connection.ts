/** One kept connection of a lane: requests one after the other, and their answers, read without a promise or a stream. */
import net from "node:net";
import tls from "node:tls";
import { systemAuthorities } from "../authorities.ts";
import { type Head, MAX_HEAD, parseHead } from "./head.ts";

/** Where a lane connects to. Data, to be handed to a thread. */
export interface LaneTarget {
  /** `http:` or `https:`, host and port. */
  readonly origin: string;
  readonly tls: {
    /** Changes whenever the rest does. */
    readonly version: string;
    /** PEM, beside what is trusted anyway. */
    readonly ca?: string | undefined;
    readonly cert?: string | undefined;
    readonly key?: string | undefined;
  };
}

/** Takes one answer. What is handed over is the connection's again when the call returns. */
export interface Receiver {
  /** False: the answer is not wanted. */
  head(head: Head): boolean;
  /** The whole body, where it is at hand at once; otherwise it comes by `piece`. */
  whole(body: Uint8Array): void;
  /** False: no more is wanted. */
  piece(bytes: Uint8Array): boolean;
  /** All pieces came. */
  end(): void;
  /**
   * It did not come to its end, or is refused.
   *
   * @param untouched the server ended a connection that had answered before, just as the request came: it may be asked once more
   */
  fail(untouched: boolean): void;
}

export interface Connection {
  readonly busy: boolean;
  /** @param request method, path and headers, up to the empty line; latin1 */
  send(request: string, receiver: Receiver): void;
  /** Fails the request under way. */
  close(): void;
  /** To be called now and then: ends a connection whose server hardly sends. False where it did. */
  check(now: number): boolean;
}

/** Bytes read at once. Every connection of the thread reads into the same memory: nothing is left in it when the next one reads. */
const READ = 256 * 1024;
let memory: Buffer | undefined;

/** Larger bodies are passed on as they come. */
const WHOLE = 256 * 1024;

/** As the engine has it for streams: bytes a second at least, over so many times the idle timeout. */
const LEAST = 64;
const WINDOWS = 2;

export interface ConnectionEvents {
  /** An answer came to its end, and the connection is free. */
  idle(): void;
  /** It can not be used any more; told after its receiver. */
  gone(everConnected: boolean): void;
}

/** What came of an answer so far. */
interface Answer {
  readonly receiver: Receiver;
  /** The beginning of a head that is not whole yet. */
  begun: Buffer | undefined;
  head: Head | undefined;
  /** Bytes of the body to come, and where they are gathered. */
  missing: number;
  body: Buffer | undefined;
}

export function connect(
  target: LaneTarget,
  idleTimeout: number,
  events: ConnectionEvents,
): Connection {
  const socket = openSocket(target, came);
  let answer: Answer | undefined;
  let connected = false;
  let answered = 0;
  let gone = false;
  /** Since when nothing came; and what came since another time, for the floor below it. */
  let quietSince = performance.now();
  let windowSince = quietSince;
  let windowBytes = 0;

  function fail(untouched: boolean): void {
    if (gone) return;
    gone = true;
    const lost = answer?.receiver;
    answer = undefined;
    socket.destroy();
    lost?.fail(untouched);
    events.gone(connected);
  }

  function end(): void {
    fail(answered > 0 && answer?.head === undefined && answer?.begun === undefined);
  }

  function came(bytes: Buffer, count: number): void {
    if (gone) return;
    quietSince = performance.now();
    windowBytes += count;
    if (answer === undefined) return end();
    const progress = take(answer, bytes, count);
    if (progress === "more") return;
    // Bytes of this answer came: it is not one to ask for again.
    if (progress === "refused") return fail(false);
    const isKept = answer.head?.keepAlive === true;
    answered++;
    answer = undefined;
    if (!isKept) return end();
    events.idle();
  }

  socket.on("connect", () => (connected = true));
  socket.on("error", end);
  socket.on("end", end);
  socket.on("close", end);

  return {
    get busy() {
      return answer !== undefined;
    },
    send(request, receiver) {
      if (gone || answer !== undefined) throw new Error("the connection is not free");
      answer = { receiver, begun: undefined, head: undefined, missing: 0, body: undefined };
      quietSince = windowSince = performance.now();
      windowBytes = 0;
      socket.write(`${request}\r\n\r\n`, "latin1");
    },
    close: end,
    check(now) {
      if (answer === undefined) return true;
      const window = WINDOWS * idleTimeout;
      const isOver = now - windowSince >= window;
      const slow = isOver && windowBytes < (LEAST * window) / 1000;
      if (slow || now - quietSince > idleTimeout) {
        end();
        return false;
      }
      if (isOver) {
        windowSince = now;
        windowBytes = 0;
      }
      return true;
    },
  };
}

function openSocket(
  { origin, tls: files }: LaneTarget,
  came: (bytes: Buffer, count: number) => void,
): net.Socket {
  memory ??= Buffer.allocUnsafeSlow(READ);
  const { protocol, hostname, port } = new URL(origin);
  const host = hostname.replace(/^\[(.*)\]$/, "$1");
  const options = {
    host,
    port: Number(port) || (protocol === "https:" ? 443 : 80),
    noDelay: true,
    onread: {
      buffer: memory,
      callback: (count: number, bytes: Uint8Array) => {
        came(bytes as Buffer, count);
        return true;
      },
    },
  };
  if (protocol !== "https:") return net.connect(options);
  return tls.connect({
    ...options,
    servername: net.isIP(host) === 0 ? host : "",
    ALPNProtocols: ["http/1.1"],
    secureContext: contextOf(files),
  });
}

/** Passes bytes of an answer on to its receiver. */
function take(answer: Answer, bytes: Buffer, count: number): "more" | "whole" | "refused" {
  const { receiver } = answer;
  let at = 0;
  if (answer.head === undefined) {
    const found = findHead(answer, bytes, count);
    if (found === "more" || found === "refused") return found;
    const head = parseHead(found.text);
    if (head === undefined || !receiver.head(head)) return "refused";
    at = found.end;
    answer.head = head;
    answer.begun = undefined;
    answer.missing = head.length;
    // What follows the answer is nobody's.
    if (count - at > head.length) return "refused";
    if (count - at === head.length) {
      receiver.whole(bytes.subarray(at, count));
      return "whole";
    }
    if (head.length <= WHOLE) answer.body = Buffer.allocUnsafe(head.length);
  }
  const { body, missing } = answer;
  const piece = bytes.subarray(at, count);
  if (piece.length > missing) return "refused";
  answer.missing -= piece.length;
  if (body !== undefined) {
    body.set(piece, body.length - missing);
    if (answer.missing > 0) return "more";
    receiver.whole(body);
    return "whole";
  }
  if (piece.length > 0 && !receiver.piece(piece)) return "refused";
  if (answer.missing > 0) return "more";
  receiver.end();
  return "whole";
}

/** Bytes of an answer that become text at once: almost every head ends in them. */
const USUAL_HEAD = 1024;

/** A head, and where in `bytes` it ends. */
function findHead(
  answer: Answer,
  bytes: Buffer,
  count: number,
): { readonly text: string; readonly end: number } | "more" | "refused" {
  const { begun } = answer;
  if (begun === undefined) {
    const text = bytes.toString("latin1", 0, Math.min(count, USUAL_HEAD));
    const stop = text.indexOf("\r\n\r\n");
    if (stop !== -1) return { text: text.slice(0, stop), end: stop + 4 };
  }
  const joined = begun === undefined ? bytes.subarray(0, count) : join(begun, bytes, count);
  const stop = joined.indexOf("\r\n\r\n");
  if (stop !== -1 && stop <= MAX_HEAD)
    return { text: joined.toString("latin1", 0, stop), end: count - (joined.length - stop - 4) };
  // More than one read may bring is cut by the limit, not by what a server likes to send.
  if (joined.length > MAX_HEAD) return "refused";
  answer.begun = Buffer.from(joined);
  return "more";
}

function join(begun: Buffer, bytes: Buffer, count: number): Buffer {
  const joined = Buffer.allocUnsafe(begun.length + count);
  joined.set(begun);
  joined.set(bytes.subarray(0, count), begun.length);
  return joined;
}

let known: { readonly version: string; readonly context: tls.SecureContext } | undefined;

/** Made once: the system's authorities are some hundred. */
function contextOf(files: LaneTarget["tls"]): tls.SecureContext {
  if (known?.version !== files.version) {
    const { version, ca, cert, key } = files;
    const context = tls.createSecureContext({
      ...(ca === undefined ? {} : { ca: [...systemAuthorities(), ca] }),
      ...(cert === undefined ? {} : { cert }),
      ...(key === undefined ? {} : { key }),
    });
    known = { version, context };
  }
  return known.context;
}
