/** Bodies of requests whose sender is not known yet: hashed as they come, and held only as far as they are short. */
import { createHmac } from "node:crypto";
import type { IncomingMessage } from "node:http";

/** Bytes of a body: GitHub's own limit (https://docs.github.com/en/webhooks/webhook-events-and-payloads), the largest of the forges'. */
const LIMIT = 25_000_000;
/** Bytes of a body that are held. */
const HELD = 1 << 18;
/** Bodies that are read at once. The others wait, and what they hold is with the kernel. */
const READERS = 4;
/** Bytes that are read in a millisecond, of all bodies together: as much as comes would be as much of a processor as there is. */
const RATE = 32_768;
/** Milliseconds of that rate that may come at once. */
const BURST = 250;
/** Milliseconds after which a body is given up that somebody else waits for. */
const BODY_TIMEOUT_MS = 2000;

interface Body {
  /** In pieces; `undefined`: longer than what is held. */
  readonly content: readonly Uint8Array[] | undefined;
  /** HMAC-SHA-256 of all of it by the secret, in hex digits. */
  readonly signature: string;
}

export interface Bodies {
  /**
   * Reads a request's body, when it has its turn.
   *
   * @returns `undefined` where it is too long, which is found out without reading on
   */
  read(request: IncomingMessage, secret: string): Promise<Body | undefined>;
}

export function createBodies(): Bodies {
  const reading = new Set<Reader>();
  const waiting = new Map<IncomingMessage, () => void>();
  /** When what was read so far would have come at the rate. */
  let paid = 0;

  async function pace(bytes: number): Promise<void> {
    const now = performance.now();
    paid = Math.max(paid, now - BURST) + bytes / RATE;
    if (paid > now) await new Promise((resolve) => setTimeout(resolve, paid - now));
  }

  /** The last that came is the first to have its turn: who sends in earnest sends at once, and does not wait for long. */
  function next(): void {
    const [request, start] = [...waiting].at(-1) ?? [];
    if (request === undefined || start === undefined) return;
    waiting.delete(request);
    start();
  }

  function turn(request: IncomingMessage): Promise<void> {
    const late = [...reading].find(({ since }) => performance.now() - since > BODY_TIMEOUT_MS);
    late?.request.destroy();
    return new Promise((resolve, reject) => {
      waiting.set(request, resolve);
      request.once("close", () => {
        if (waiting.delete(request)) reject(new Error("the caller went away"));
      });
    });
  }

  return {
    async read(request, secret) {
      if (Number(request.headers["content-length"] ?? 0) > LIMIT) return undefined;
      if (reading.size >= READERS) await turn(request);
      const reader = { request, since: performance.now() };
      reading.add(reader);
      const clock = setTimeout(() => {
        if (waiting.size > 0) request.destroy();
      }, BODY_TIMEOUT_MS).unref();
      try {
        return await readOne(request, secret, pace);
      } finally {
        clearTimeout(clock);
        reading.delete(reader);
        next();
      }
    },
  };
}

interface Reader {
  readonly request: IncomingMessage;
  /** `performance.now()`. */
  readonly since: number;
}

async function readOne(
  request: IncomingMessage,
  secret: string,
  pace: (bytes: number) => Promise<void>,
): Promise<Body | undefined> {
  const hmac = createHmac("sha256", secret);
  let held: Uint8Array[] = [];
  let length = 0;
  // The connection is left as it is: it has an answer to come.
  const parts = request.iterator({ destroyOnReturn: false }) as AsyncIterable<Uint8Array>;
  for await (const part of parts) {
    length += part.length;
    if (length > LIMIT) return undefined;
    hmac.update(part);
    await pace(part.length);
    if (length <= HELD) held.push(part);
    else held = [];
  }
  return { content: length <= HELD ? held : undefined, signature: hmac.digest("hex") };
}
