/**
 * One connection of a lane to an FTP server, without encryption: files one after the other, each with a data connection of its own, read without a promise
 * or a stream. What is not the plain good answer ends the file, and mostly the connection.
 */
import net from "node:net";
import { parseTime } from "./time.ts";

/** Where and how a lane signs in. Data, to be handed to a thread; texts are bytes, as in names.ts. */
export interface LaneTarget {
  readonly host: string;
  readonly port: number;
  readonly user: string;
  readonly password: string;
  /** Whether the server knows EPSV. */
  readonly extended: boolean;
  /** Whether it is to be told that names are UTF-8. */
  readonly utf8: boolean;
}

interface Wanted {
  /** On the server. */
  readonly path: string;
  /** Bytes. */
  readonly size: number;
  /** Whether the modification time is asked for after the content. */
  readonly timed: boolean;
  /**
   * Takes the content and what the server says of the time after that; to be copied. `undefined`: it did not come, or not as plainly as it should.
   */
  done(content: Uint8Array | undefined, mtime: number | undefined): void;
}

export interface LaneConnection {
  /** Asks for a file. One at a time, and only once it is free. */
  fetch(wanted: Wanted): void;
  /** Ends the file under way. */
  close(): void;
  /** To be called now and then: ends a connection whose server is silent. False where it did. */
  check(now: number): boolean;
}

export interface LaneConnectionEvents {
  /** It is signed in, or done with a file, and free. */
  idle(): void;
  /** The server answered the first of two commands, and not the second. Told before it is gone. */
  forgotten(): void;
  /** It can not be used any more; told after its file. */
  gone(): void;
}

/** Larger than a reply may be. */
const LONGEST_REPLY = 65_536;
/** Milliseconds for the second of two commands that were sent at once. A server that forgets it gets no lane. */
const SECOND_AFTER_MS = 3000;

/** Every connection of the thread reads into the same memory: nothing is left in it when the next one reads. */
const READ = 256 * 1024;
let memory: Buffer | undefined;

/** What the next reply belongs to, until the connection is signed in. */
type SignIn = "greeting" | "user" | "password" | "utf8" | "type";

/** The same after that. `ending`: the last word on a transfer. */
type Step = SignIn | "begin" | "ending" | "time" | "passive" | "none";

export function connectLane(
  target: LaneTarget,
  idleTimeout: number,
  events: LaneConnectionEvents,
): LaneConnection {
  const replies = createReplies((code, text) => {
    // What is not expected ends the connection.
    if (isGone || !take(code, text)) end();
  });
  const control = openSocket(target.host, target.port, (bytes, count) => {
    heard = performance.now();
    if (!replies.take(bytes.toString("latin1", 0, count))) end();
  });
  const passive = passiveOf(target);
  const content = createContent();
  let step: Step = "greeting";
  let heard = performance.now();
  let began = heard;
  /** The port that waits for the next data connection. */
  let port: number | undefined;
  let wanted: Wanted | undefined;
  let data: net.Socket | undefined;
  let mtime: number | undefined;
  let isGone = false;

  function end(): void {
    if (isGone) return;
    isGone = true;
    control.destroy();
    data?.destroy();
    const lost = wanted;
    wanted = undefined;
    lost?.done(undefined, undefined);
    events.gone();
  }

  function say(next: Step, ...commands: readonly string[]): void {
    step = next;
    if (commands.length > 0) control.write(`${commands.join("\r\n")}\r\n`, "latin1");
  }

  function take(code: number, text: string): boolean {
    switch (step) {
      case "begin":
        if (code === 550) return refused();
        step = "ending";
        return code === 150 || code === 125;
      case "ending":
        if (wanted?.timed === true) say("time", `MDTM ${wanted.path}`, passive);
        else say("passive", passive);
        return code === 226 || code === 250;
      case "time":
        step = "passive";
        mtime = code === 213 ? parseTime(text.slice(4)) : undefined;
        // A file without its time is left; the connection is as good as before.
        return true;
      case "passive":
        port = portOf(text, target.extended);
        step = "none";
        return code === (target.extended ? 229 : 227) && port !== undefined && finish();
      case "none":
        return false;
      default: {
        const next = signIn(step, code, target);
        if (next !== undefined) say(...next);
        return next !== undefined;
      }
    }
  }

  /** It is not there, or not for us: the connection is as good as before. */
  function refused(): boolean {
    data?.destroy();
    content.end(false);
    say("passive", passive);
    return true;
  }

  /** Once the server has said everything, and all content is there. */
  function finish(): boolean {
    if (wanted !== undefined) {
      if (!content.isOver) return true;
      const { done, size } = wanted;
      wanted = undefined;
      data = undefined;
      done(content.whole(size), mtime);
    }
    if (!isGone) events.idle();
    return true;
  }

  /** @returns the data connection of a file */
  function receive(host: string, from: number, size: number): net.Socket {
    content.begin(size);
    const socket = openSocket(host, from, (bytes, count) => {
      heard = performance.now();
      if (!content.add(bytes, count)) end();
    });
    socket.on("error", () => {
      // After a refusal nobody cares.
      if (data === socket && !content.isOver) end();
    });
    socket.on("end", () => {
      if (data !== socket || content.isOver) return;
      content.end(true);
      if (step === "none") finish();
    });
    return socket;
  }

  control.setNoDelay(true);
  for (const event of ["error", "end", "close"]) control.on(event, end);

  return {
    fetch(next) {
      if (port === undefined || wanted !== undefined) throw new Error("the connection is not free");
      wanted = next;
      const { remoteAddress } = control;
      if (remoteAddress === undefined) return end();
      // Never the address that the server tells, as in transfer.ts.
      data = receive(remoteAddress, port, next.size);
      port = undefined;
      mtime = undefined;
      heard = began = performance.now();
      say("begin", `RETR ${next.path}`);
    },
    close: end,
    check(now) {
      if ((wanted === undefined && step === "none") || isGone) return true;
      const isSecond =
        wanted === undefined && (step === "passive" || (step === "type" && target.utf8));
      const allowed = isSecond ? Math.min(SECOND_AFTER_MS, idleTimeout) : idleTimeout;
      // A byte now and then leads nowhere: files are small.
      if (now - heard <= allowed && now - began <= 2 * idleTimeout) return true;
      if (isSecond) events.forgotten();
      end();
      return false;
    },
  };
}

function passiveOf({ extended }: LaneTarget): string {
  return extended ? "EPSV" : "PASV";
}

/** @returns the next step, and what is sent for it; `undefined` after anything but a plain good reply */
function signIn(
  step: SignIn,
  code: number,
  target: LaneTarget,
): readonly [Step, ...string[]] | undefined {
  if (step === "greeting") {
    if (code === 120) return [step];
    return code === 220 ? ["user", `USER ${target.user}`] : undefined;
  }
  if (step === "user" && code === 331) return ["password", `PASS ${target.password}`];
  if (step === "user" || step === "password") {
    if (code !== 230 && code !== 202) return undefined;
    // Two commands at once: of a server that takes only one, no more is wanted.
    const both = ["TYPE I", passiveOf(target)] as const;
    return target.utf8 ? ["utf8", "OPTS UTF8 ON", ...both] : ["type", ...both];
  }
  // Whatever is answered to OPTS, as in connection.ts.
  if (step === "utf8") return ["type"];
  return code === 200 ? ["passive"] : undefined;
}

/** What comes of one file after the other, in the same memory. */
function createContent() {
  let memoryOfOne = Buffer.alloc(0);
  let listed = 0;
  let size = 0;
  let isRight = false;
  return {
    isOver: true,
    begin(length: number): void {
      if (memoryOfOne.length < length) memoryOfOne = Buffer.allocUnsafeSlow(length);
      listed = length;
      size = 0;
      this.isOver = false;
    },
    /** False where it is longer than listed. */
    add(bytes: Buffer, count: number): boolean {
      if (size + count > listed) return false;
      memoryOfOne.set(bytes.subarray(0, count), size);
      size += count;
      return true;
    },
    end(right: boolean): void {
      isRight = right;
      this.isOver = true;
    },
    whole(length: number): Uint8Array | undefined {
      return isRight && size === length ? memoryOfOne.subarray(0, size) : undefined;
    },
  };
}

function openSocket(
  host: string,
  port: number,
  came: (bytes: Buffer, count: number) => void,
): net.Socket {
  memory ??= Buffer.allocUnsafeSlow(READ);
  return net.connect({
    host,
    port,
    onread: {
      buffer: memory,
      callback: (count: number, bytes: Uint8Array) => {
        came(bytes as Buffer, count);
        return true;
      },
    },
  });
}

/** `229 … (|||6446|)`: RFC 2428; `227 … h1,h2,h3,h4,p1,p2`: RFC 959. */
function portOf(text: string, extended: boolean): number | undefined {
  const [, high, low] = /\d+,\d+,\d+,\d+,(\d{1,3}),(\d{1,3})/.exec(text) ?? [];
  const port = extended
    ? Number(/\((.)\1\1(\d{1,5})\1\)/.exec(text)?.[2] ?? 0)
    : Number(high ?? 0) * 256 + Number(low ?? 0);
  return port > 0 && port < 65_536 ? port : undefined;
}

/** Finds whole replies in what comes: `150 text`, or `150-text`, lines, `150 text`. */
function createReplies(onReply: (code: number, text: string) => void) {
  let rest = "";
  /** `150 `, with which a reply of several lines ends. */
  let last = "";
  /** Characters since the last reply. */
  let length = 0;
  return {
    /** False: this is no reply. */
    take(text: string): boolean {
      rest += text;
      length += text.length;
      for (;;) {
        const at = rest.indexOf("\n");
        if (at === -1) return length <= LONGEST_REPLY;
        const line = rest.slice(0, rest[at - 1] === "\r" ? at - 1 : at);
        rest = rest.slice(at + 1);
        if (last !== "" && !line.startsWith(last)) continue;
        const [, code, more] = /^([1-6]\d\d)([ -]|$)/.exec(line) ?? [];
        if (code === undefined) return false;
        last = more === "-" ? `${code} ` : "";
        if (last !== "") continue;
        length = rest.length;
        onReply(Number(code), line);
      }
    },
  };
}
