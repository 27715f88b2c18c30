/** One ssh connection with one SFTP session on it, made when it is needed and made again when it broke. */
import { connect, type Socket } from "node:net";
import {
  createPace,
  largeReads,
  SourceError,
  untilAborted,
  UsageError,
} from "@pannier/core/adapter";
import type { Trust } from "@pannier/ssh-client";
import type { Client, SFTPWrapper } from "ssh2";
import { prepareClient, type SignIn } from "./client.ts";
import { connectionError } from "./errors.ts";

export interface ConnectionInit extends SignIn {
  /** Milliseconds that the server may be silent while it owes an answer. */
  readonly idleTimeout: number;
}

export type Callback<Result> = (error: Error | undefined | null, result: Result) => void;

/** An SFTP session: as many requests at once as one likes. */
export interface Session {
  /** Bytes that one read may ask for. */
  readonly readSize: number;
  /**
   * Sends a request. An abort ends the waiting only; `onLate` gets what is answered after that.
   *
   * @throws Error as ssh2 gives the server's answer; SourceError where the connection broke
   */
  ask<Result>(
    signal: AbortSignal,
    send: (sftp: SFTPWrapper, done: Callback<Result>) => void,
    onLate?: (result: Result) => void,
  ): Promise<Result>;
  /** Sends a request whose answer is of no interest. */
  tell(send: (sftp: SFTPWrapper, done: () => void) => void): void;
}

export interface Connection {
  /** The session, recreated where there is none. */
  session(signal: AbortSignal): Promise<Session>;
  close(): void;
}

/** Every server takes this much (draft-ietf-secsh-filexfer-02, 3); OpenSSH takes 256 KiB with what is around it. */
const READ_SIZE = 32 * 1024;
const OPENSSH_READ_SIZE = 255 * 1024;

/** Milliseconds without any byte after which one who leaves takes the connection for dead: most answers come sooner. */
const SUSPECT_AFTER_MS = 100;

/** Bytes a second that come at least where no answer gets complete: each packet of ssh has some 40 of its own. */
const LEAST = 136;

export function createConnection(init: ConnectionInit): Connection {
  let current: { readonly ready: Promise<Session>; readonly link: Link } | undefined;
  let closed = false;

  async function start(link: Link): Promise<Session> {
    const { client, methods, signIn } = await prepareClient(init, link.fail);
    if (closed) throw new SourceError("unavailable", "the source was closed");
    link.tried(methods);
    return link.open(client, signIn);
  }

  return {
    async session(signal) {
      signal.throwIfAborted();
      if (closed) throw new SourceError("unavailable", "the source was closed");
      if (current === undefined) {
        const link = createLink(init, () => {
          if (current === made) current = undefined;
        });
        const ready = start(link);
        // A failure before there is a socket ends the link as well.
        ready.catch(link.fail);
        const made = { ready, link };
        current = made;
      }
      const { ready, link } = current;
      return untilAborted(ready, signal, link.whenSilent());
    },
    close() {
      closed = true;
      current?.link.end();
    },
  };
}

interface Link {
  /** Notes what there is to sign in with, by ssh's names. */
  tried(methods: readonly string[]): void;
  /** To be called by one who waits no longer: gives the connection up if nothing came for a while. Who comes next would only wait for the same. */
  whenSilent(): () => void;
  open(client: Client, begin: (socket: Socket) => void): Promise<Session>;
  fail(error: unknown): void;
  end(): void;
}

/** The socket and what hangs on it: who waits learns when it breaks or falls silent. */
function createLink({ trust, idleTimeout }: ConnectionInit, onEnd: () => void): Link {
  /** Those who wait for an answer, the connection's own maker included. */
  const waiting = new Set<(reason: unknown) => void>();
  const arrivals = watchArrivals();
  let connecting = true;
  let greeting = "";
  let methods: readonly string[] = [];
  let broken: Error | undefined;
  let client: Client | undefined;
  let socket: Socket | undefined;

  function fail(error: unknown): void {
    if (broken !== undefined) return;
    const known = error instanceof Error ? error : new Error(String(error));
    // What was configured wrongly is no matter of the connection.
    broken =
      known instanceof UsageError
        ? known
        : connectionError({ greeting, connecting, methods, error: known });
    onEnd();
    client?.destroy();
    socket?.destroy();
    for (const reject of waiting) reject(broken);
    waiting.clear();
  }

  function open(made: Client, begin: (socket: Socket) => void): Promise<Session> {
    client = made;
    return new Promise((resolve, reject) => {
      waiting.add(reject);
      const created = openSocket(trust, idleTimeout, {
        silent() {
          if (waiting.size > 0) fail(Object.assign(new Error("silence"), { code: "ETIMEDOUT" }));
        },
        came(chunk) {
          arrivals.came(chunk.length, waiting.size > 0);
          if (connecting && greeting.length < 256) greeting += chunk.toString("latin1", 0, 256);
        },
        fail,
      });
      socket = created;
      whenReady(made, fail, (sftp) => {
        connecting = false;
        waiting.delete(reject);
        resolve(sessionOn(sftp));
      });
      created.once("connect", () => begin(created));
    });
  }

  function sessionOn(sftp: SFTPWrapper): Session {
    return {
      readSize: /^SSH-2\.0-OpenSSH/m.test(greeting) ? OPENSSH_READ_SIZE : READ_SIZE,
      ask<Result>(
        signal: AbortSignal,
        send: (to: SFTPWrapper, done: Callback<Result>) => void,
        onLate?: (result: Result) => void,
      ): Promise<Result> {
        return new Promise<Result>((resolve, reject) => {
          if (signal.aborted) return reject(signal.reason);
          if (broken !== undefined) return reject(broken);
          const giveUp = whenSilent();
          const onAbort = () => {
            reject(signal.reason);
            giveUp();
          };
          signal.addEventListener("abort", onAbort, { once: true });
          if (waiting.size === 0) arrivals.startOver();
          waiting.add(reject);
          send(sftp, (error, result) => {
            signal.removeEventListener("abort", onAbort);
            waiting.delete(reject);
            arrivals.startOver();
            if (error !== undefined && error !== null) return reject(broken ?? asAnswer(error));
            if (signal.aborted) onLate?.(result);
            resolve(result);
          });
        });
      },
      tell(send) {
        if (broken === undefined) send(sftp, () => {});
      },
    };
  }

  function whenSilent(): () => void {
    const isSilent = arrivals.silenceFromNow();
    return () => {
      if (isSilent()) fail(new SourceError("unavailable", "the wait for the server was abandoned"));
    };
  }

  return {
    tried: (names) => void (methods = names),
    open,
    fail,
    whenSilent,
    end: () => fail(new SourceError("unavailable", "the source was closed")),
  };
}

function openSocket(
  { host, port }: Trust,
  idleTimeout: number,
  on: {
    /** Nothing came for so long. */
    silent(): void;
    /** May throw. */
    came(chunk: Buffer): void;
    fail(error: unknown): void;
  },
): Socket {
  const socket = connect({
    host: host.replace(/^\[|\]$/g, ""),
    port,
    noDelay: true,
    onread: largeReads(),
  });
  // Notices a peer that vanished while nothing was asked.
  socket.setKeepAlive(true, 15_000);
  socket.setTimeout(idleTimeout);
  socket.on("timeout", on.silent);
  socket.on("data", (chunk: Buffer) => {
    try {
      on.came(chunk);
    } catch (error) {
      on.fail(error);
    }
  });
  socket.once("error", on.fail);
  socket.once("close", () => on.fail(new Error("the connection was closed")));
  return socket;
}

function whenReady(
  client: Client,
  fail: (error: unknown) => void,
  onReady: (sftp: SFTPWrapper) => void,
): void {
  client.on("error", (error: Error & { level?: string }) => {
    // Others may still let us in: an agent that does not answer is not the end.
    if (error.level !== "agent") fail(error);
  });
  client.once("close", () => fail(new Error("the connection was closed")));
  client.once("ready", () => {
    client.sftp((error, sftp) => {
      if (error !== undefined) return fail(error);
      sftp.on("error", fail);
      sftp.once("close", () => fail(new Error("the session was closed")));
      onReady(sftp);
    });
  });
}

const newPace = () => createPace("the server's answer", { least: LEAST });

/** Whether anything comes, and at which pace between two answers. */
function watchArrivals() {
  let pace = newPace();
  let received = 0;
  let last = performance.now();
  let startsOver = false;
  return {
    /**
     * @param isAwaited whether anybody waits for it
     * @throws SourceError where it comes too slowly
     */
    came(bytes: number, isAwaited: boolean): void {
      received += bytes;
      const now = performance.now();
      if (startsOver || !isAwaited) {
        pace = newPace();
        last = now;
      }
      startsOver = false;
      pace.came(now - last, bytes);
      last = now;
    },
    /** To be called with an answer, and with the first question after a while: what comes next is of another one. */
    startOver(): void {
      startsOver = true;
    },
    /** @returns whether nothing came since, long enough to take the connection for dead */
    silenceFromNow(): () => boolean {
      const before = received;
      const since = performance.now();
      return () => received === before && performance.now() - since > SUSPECT_AFTER_MS;
    },
  };
}

/** What ssh2 cannot make anything of has no status. */
function asAnswer(error: Error & { code?: unknown }): Error {
  return typeof error.code === "number" ? error : misunderstood(error.message);
}

/** For an answer that is not one to what was asked. */
export function misunderstood(why: string): SourceError {
  return new SourceError("invalid", `the server's answer cannot be understood (${why})`, {
    hint: "check that the port is that of an SFTP server",
  });
}
