/** Git's framing of its protocols: https://git-scm.com/docs/protocol-common#_pkt_line_format */
import { createPace, type Pace, SourceError } from "@pannier/core/adapter";

/** A packet's payload, or one of the three packets without a payload. */
export type Packet = Buffer | "flush" | "delimiter" | "end";

export const FLUSH = "0000";
export const DELIMITER = "0001";

/** A payload as a packet. */
export function packet(text: string): string {
  return (Buffer.byteLength(text) + 4).toString(16).padStart(4, "0") + text;
}

/** Milliseconds that a server may prepare a pack, as long as it gives signs of life: for large repositories it takes minutes. */
const PREPARING = 10 * 60_000;

/** Bytes a second that a server sends at least, on the average of a minute. */
const LEAST = 16;

export function createServerPace(what: string): Pace {
  return createPace(what, { least: LEAST });
}

/** Takes packets off a byte stream that gets on. */
export class PacketReader {
  readonly #chunks: AsyncIterator<Uint8Array>;
  #rest: Buffer = Buffer.alloc(0);
  #pace = createServerPace("the server's answer");
  /** Until when whole packets will do, however few and small. */
  #patientUntil: number | undefined;

  constructor(stream: AsyncIterable<Uint8Array>) {
    this.#chunks = stream[Symbol.asyncIterator]();
  }

  /** The server prepares a pack from now on. Meanwhile it sends a packet of five bytes each five seconds (uploadpack.keepAlive). */
  packIsPrepared(): void {
    this.#patientUntil = performance.now() + PREPARING;
  }

  packBegins(): void {
    this.#patientUntil = undefined;
  }

  /**
   * The next packet; `undefined` at the end of the stream. A stream that ends inside a packet is `unavailable`, and so is one
   * that hardly moves.
   */
  async next(): Promise<Packet | undefined> {
    const next = await this.#next();
    if (this.#patientUntil !== undefined && next !== undefined) {
      if (performance.now() > this.#patientUntil) throw tooSlow();
      this.#pace = createServerPace("the server's answer");
    }
    return next;
  }

  async #next(): Promise<Packet | undefined> {
    const head = await this.#take(4, true);
    if (head === undefined) return undefined;
    const text = head.toString("latin1");
    if (!/^[0-9a-f]{4}$/i.test(text)) throw notGit();
    const length = Number.parseInt(text, 16);
    if (length === 0) return "flush";
    if (length === 1) return "delimiter";
    if (length === 2) return "end";
    if (length < 4 || length > 65520) throw notGit();
    return (await this.#take(length - 4, false)) as Buffer;
  }

  /** The next packet as a line of text without its line feed, or a packet without a payload. Throws what the server reports by `ERR`. */
  async line(): Promise<string | Exclude<Packet, Buffer> | undefined> {
    const next = await this.next();
    if (!Buffer.isBuffer(next)) return next;
    const text = next.toString("utf8").replace(/\n$/, "");
    if (text.startsWith("ERR ")) throw remoteError(text.slice(4));
    return text;
  }

  /** Gives up the stream, and with it the connection or process behind it. */
  async close(): Promise<void> {
    await this.#chunks.return?.();
  }

  async #take(size: number, mayEnd: boolean): Promise<Buffer | undefined> {
    if (this.#rest.length < size) {
      const parts = [this.#rest];
      let have = this.#rest.length;
      while (have < size) {
        const asked = performance.now();
        const { value, done } = await this.#chunks.next();
        if (done === true) {
          if (mayEnd && have === 0) return undefined;
          throw cutShort();
        }
        this.#pace.came(performance.now() - asked, value.byteLength);
        parts.push(Buffer.from(value.buffer, value.byteOffset, value.byteLength));
        have += value.byteLength;
      }
      this.#rest = Buffer.concat(parts, have);
    }
    const taken = this.#rest.subarray(0, size);
    this.#rest = this.#rest.subarray(size);
    return taken;
  }
}

function tooSlow(): SourceError {
  return new SourceError("unavailable", "the server prepared a pack for ten minutes", {
    transient: false,
    hint: "depth=1 asks for less",
  });
}

export function cutShort(): SourceError {
  return new SourceError("unavailable", "the server's answer was cut short");
}

export function notGit(): SourceError {
  return new SourceError("invalid", "the server's answer is not git's protocol", {
    hint: "check that the URL is that of a git repository",
  });
}

/** What a server says went wrong, as one of our errors. */
export function remoteError(message: string): SourceError {
  const text = `the server says: ${printable(message)}`;
  if (/not our ref|unadvertised object|no such ref|couldn't find remote ref/i.test(message))
    return new SourceError("not-found", text);
  if (
    /repository not found|not exported|does not appear to be a git repository|no such repository/i.test(
      message,
    )
  )
    return new SourceError("not-found", text, {
      hint: "check the URL, and that what it is read with may see it",
    });
  if (/access denied|permission|not allowed|forbidden|unauthorized|authentication/i.test(message))
    return new SourceError("auth", text);
  return new SourceError("unavailable", text);
}

/** One line of text from outside, short and without control characters. */
export function printable(text: string): string {
  return text
    .replace(/\p{Cc}+/gu, " ")
    .trim()
    .slice(0, 400);
}
