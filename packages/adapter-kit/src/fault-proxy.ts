/** A TCP proxy that misbehaves on demand, for any protocol: what stands between an adapter and its server in fault tests. */
import { once } from "node:events";
import { type AddressInfo, createConnection, createServer, type Socket } from "node:net";
import { setTimeout as sleep } from "node:timers/promises";

/**
 * What goes wrong. Everything may be combined; nothing set means a faithful proxy.
 *
 * Byte counts are those that the server sends, on each connection by itself, counted from when the faults were set (or
 * the connection was made): so a fault also meets a connection that a client keeps in a pool.
 */
export interface Faults {
  /** Milliseconds that each chunk from the server is held back. */
  readonly delay?: number | undefined;
  /** Bytes a second that pass from the server, on each connection. */
  readonly bytesPerSecond?: number | undefined;
  /** Ends the connection, as if all had been said, after this many bytes. */
  readonly cutAfter?: number | undefined;
  /** Resets the connection (RST) after this many bytes. */
  readonly resetAfter?: number | undefined;
  /** Says nothing more after this many bytes, with the connection left open. */
  readonly stallAfter?: number | undefined;
  /** Inverts the byte at this offset. */
  readonly corruptAt?: number | undefined;
  /** How many times `cutAfter`, `resetAfter`, `stallAfter` and `corruptAt` strike before all is well again. Default: without end. */
  readonly times?: number | undefined;
  /** Connections are refused by the operating system (ECONNREFUSED), and those already open reset. */
  readonly refuse?: boolean | undefined;
  /** Answers HTTP requests (plain, not TLS) in the server's place. */
  readonly http?: HttpFault | undefined;
}

/** Which HTTP requests are answered by the proxy, and how. */
export interface HttpFault {
  /** As 429, 503, 500. */
  readonly status: number;
  /** Value of a `Retry-After` header: seconds, or an HTTP date. */
  readonly retryAfter?: number | string | undefined;
  /** Only this many requests, the first ones. Default: all. */
  readonly first?: number | undefined;
  /** Only this share of the requests, from 0 to 1, chosen by chance. Default: all. */
  readonly probability?: number | undefined;
  /** Start of the chance, so that a run can be repeated. Default 1. */
  readonly seed?: number | undefined;
}

/** What went through since the start. */
export interface FaultStats {
  /** Connections accepted, and those open now. */
  readonly connections: number;
  readonly open: number;
  /** Bytes passed on, from the client and from the server. */
  readonly sent: number;
  readonly received: number;
  /** HTTP requests seen while {@link Faults.http} was set, and how many of those the proxy answered itself. */
  readonly requests: number;
  readonly answered: number;
  /** Cuts, resets, stalls and corruptions done. */
  readonly strikes: number;
}

export interface FaultProxy {
  readonly host: string;
  readonly port: number;
  readonly stats: FaultStats;
  /** Replaces all faults, from the next byte on; `set({})` makes everything well, but what is stalled stays so. */
  set(faults: Faults): Promise<void>;
  /** Drops every connection and frees the port. */
  close(): Promise<void>;
}

interface State {
  readonly stats: { -readonly [Name in keyof FaultStats]: FaultStats[Name] };
  /** Replaced as a whole by `set`, so that a connection notices new faults by identity and counts from zero. */
  rules: ReturnType<typeof makeRules>;
}

/** Starts a proxy on a free port of 127.0.0.1 that passes everything on to `target`. */
export async function createFaultProxy(init: {
  readonly target: { readonly host: string; readonly port: number };
}): Promise<FaultProxy> {
  const state: State = {
    stats: {
      connections: 0,
      open: 0,
      sent: 0,
      received: 0,
      requests: 0,
      answered: 0,
      strikes: 0,
    },
    rules: makeRules({}),
  };
  const { stats } = state;
  const sockets = new Set<Socket>();

  // Half-open connections are passed on as such: each side ends when its peer does.
  const server = createServer({ allowHalfOpen: true, noDelay: true }, (client) => {
    const upstream = createConnection({ ...init.target, allowHalfOpen: true, noDelay: true });
    stats.connections++;
    stats.open++;
    for (const socket of [client, upstream]) {
      sockets.add(socket);
      socket.on("error", () => {});
      socket.once("close", () => sockets.delete(socket));
    }
    client.once("close", () => {
      stats.open--;
      upstream.destroy();
    });
    passFromClient(client, upstream, state).catch(() => upstream.resetAndDestroy());
    passFromServer(client, upstream, state).catch(() => {
      // Not where this proxy itself dropped the server, to answer in its place.
      if (upstream.errored !== null) client.resetAndDestroy();
    });
  });

  async function listen(port: number): Promise<void> {
    server.listen(port, "127.0.0.1");
    await once(server, "listening");
  }
  async function stopListening(): Promise<void> {
    if (!server.listening) return;
    const closed = once(server, "close");
    server.close();
    for (const socket of sockets) socket.resetAndDestroy();
    await closed;
  }

  await listen(0);
  const { port } = server.address() as AddressInfo;
  return {
    host: "127.0.0.1",
    port,
    stats,
    async set(faults) {
      state.rules = makeRules(faults);
      if (faults.refuse === true) await stopListening();
      else if (!server.listening) await listen(port);
    },
    close: stopListening,
  };
}

async function passFromClient(client: Socket, upstream: Socket, state: State): Promise<void> {
  const { stats } = state;
  for await (const chunk of chunksOf(client)) {
    // A new request starts its own chunk: clients do not pipeline, and a body never looks like a request line.
    if (
      state.rules.http !== undefined &&
      /^[A-Z]+ \S+ HTTP\/1\.[01]\r\n/.test(chunk.subarray(0, 8192).toString("latin1"))
    ) {
      stats.requests++;
      if (state.rules.http.strikes()) {
        stats.answered++;
        upstream.destroy();
        client.end(state.rules.http.response);
        client.resume();
        return;
      }
    }
    if (upstream.destroyed) continue; // Cut: what the client still says goes nowhere, but is no reason for a reset.
    stats.sent += chunk.length;
    await write(upstream, chunk);
  }
  upstream.end();
}

async function passFromServer(client: Socket, upstream: Socket, state: State): Promise<void> {
  const { stats } = state;
  let counted = state.rules;
  let offset = 0;
  for await (const whole of chunksOf(upstream)) {
    let chunk = whole;
    if (state.rules.faults.delay !== undefined) await sleep(state.rules.faults.delay);
    if (counted !== state.rules) {
      counted = state.rules;
      offset = 0;
    }
    const { bytesPerSecond, corruptAt } = counted.faults;
    const at = (corruptAt ?? Infinity) - offset;
    if (at >= 0 && at < chunk.length && counted.strike()) {
      stats.strikes++;
      chunk = Buffer.from(chunk);
      chunk[at] = (chunk[at] as number) ^ 0xff;
    }
    const end = firstEnd(counted.faults);
    const ends = end !== undefined && offset + chunk.length >= end.after && counted.strike();
    if (ends) chunk = chunk.subarray(0, Math.max(0, end.after - offset));
    offset += chunk.length;

    // A tenth of a second's worth at a time, so that a slow line trickles instead of coming in lumps.
    const step = bytesPerSecond === undefined ? chunk.length : Math.ceil(bytesPerSecond / 10);
    for (let from = 0; from < chunk.length && !client.destroyed; from += step) {
      const part = chunk.subarray(from, from + step);
      if (bytesPerSecond !== undefined) await sleep((part.length / bytesPerSecond) * 1000);
      stats.received += part.length;
      await write(client, part);
    }
    if (ends) {
      stats.strikes++;
      if (end.how === "stall") return;
      if (end.how === "cut") client.end();
      else client.resetAndDestroy();
      upstream.destroy();
      return;
    }
  }
  client.end();
}

/** Faults with what they have to remember. */
function makeRules(faults: Faults) {
  let left = faults.times ?? Infinity;
  return {
    faults,
    http: faults.http === undefined ? undefined : makeHttpRule(faults.http),
    strike: () => left > 0 && left-- > 0,
  };
}

function makeHttpRule(fault: HttpFault) {
  let left = fault.first ?? Infinity;
  const chance = seededChance(fault.seed ?? 1);
  const retry = fault.retryAfter === undefined ? "" : `Retry-After: ${fault.retryAfter}\r\n`;
  return {
    response: `HTTP/1.1 ${fault.status} Fault\r\n${retry}Content-Length: 0\r\nConnection: close\r\n\r\n`,
    strikes: () => left > 0 && chance() < (fault.probability ?? 1) && left-- > 0,
  };
}

/** Of the faults that end a connection, the one that comes first. */
function firstEnd({ cutAfter, resetAfter, stallAfter }: Faults) {
  return [
    { how: "cut", after: cutAfter },
    { how: "reset", after: resetAfter },
    { how: "stall", after: stallAfter },
  ]
    .filter((end): end is { how: string; after: number } => end.after !== undefined)
    .toSorted((a, b) => a.after - b.after)[0];
}

/** Unlike plain iteration, leaves the other direction of the socket open at the end. */
function chunksOf(socket: Socket): AsyncIterable<Buffer> {
  return socket.iterator({ destroyOnReturn: false });
}

/** Resolves when the bytes are with the operating system, so that a slow reader slows the sender down, and a reset loses none. */
function write(socket: Socket, chunk: Buffer): Promise<void> {
  return new Promise((resolve, reject) => {
    socket.write(chunk, (error) => (error ? reject(error) : resolve()));
  });
}

/** Mulberry32: small, repeatable, and evenly enough spread for choosing victims. */
function seededChance(seed: number): () => number {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
}
