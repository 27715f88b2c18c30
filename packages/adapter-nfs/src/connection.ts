/** The helper process as the adapter sees it: started when there is something to ask, replaced when it ended. */
import { extname } from "node:path";
import { InternalError, SourceError } from "@pannier/core/adapter";
import { startHelperProcess } from "@pannier/helper-process";
import type { PingTarget } from "./ping.ts";
import { checkServer } from "./server-check.ts";
import type { Facts, FromHelper, Item, Problem, Question, Start, ToHelper } from "./protocol.ts";

/** Questions at once, each on a connection of its own. */
export const CONNECTIONS = 8;
/** Milliseconds without a question after which the helper is ended: it holds some 50 MiB. */
const UNUSED = 20_000;
/** Milliseconds on top of the idle timeout that a helper which owes an answer may give no sign of life: then it hangs. */
const HELPER_GRACE_MS = 5000;
/** Milliseconds without an answer after which one who leaves takes what is being asked for dead. */
const SUSPECT_AFTER_MS = 100;

interface Answer {
  readonly items: readonly Item[];
  readonly facts: Facts | undefined;
  readonly bytes: Uint8Array;
}

/** A question that libnfs could not answer. */
export class Unanswered extends InternalError {
  readonly problem: Problem;

  constructor(problem: Problem) {
    super(problem.text);
    this.problem = problem;
  }
}

export interface ConnectionInit {
  readonly start: Start;
  /** What is asked whether it is there, before libnfs is let loose on it. */
  readonly pingTarget: PingTarget;
  /** The helper's module. Default: the one beside this one. */
  readonly helper?: URL | undefined;
  /** Default {@link HELPER_GRACE_MS}. */
  readonly patience?: number | undefined;
}

export interface Connection {
  /**
   * An abort ends the waiting at once.
   *
   * @throws Unanswered; SourceError where the server or the helper is not there; the signal's reason
   */
  ask(question: Question, signal: AbortSignal): Promise<Answer>;
  close(): void;
}

interface Asked {
  readonly question: Question;
  readonly items: Item[];
  resolve(answer: Answer): void;
  reject(error: unknown): void;
}

interface Helper {
  /** The address that it connects to. */
  readonly server: string;
  send(message: ToHelper): void;
  kill(): void;
}

export function createConnection(init: ConnectionInit): Connection {
  const { pingTarget, patience = HELPER_GRACE_MS } = init;
  const check = checkServer(pingTarget);
  const waiting: Asked[] = [];
  /** What the helper was asked and has not answered yet, also where nobody waits for it any longer. */
  const asked = new Map<number, Asked>();
  let lastId = 0;
  let helper: Helper | undefined;
  let unused: NodeJS.Timeout | undefined;
  let hanging: NodeJS.Timeout | undefined;
  let closed = false;

  function end(error: unknown): void {
    const ended = helper;
    helper = undefined;
    check.forget();
    clearTimeout(hanging);
    clearTimeout(unused);
    ended?.kill();
    const lost = [...asked.values()];
    asked.clear();
    for (const { reject } of lost) reject(error);
  }

  function start(server: string): Helper {
    const made = startHelper(init, server, {
      onMessage: (message, body) => {
        if (helper === made) onMessage(message, body);
      },
      onEnd: (why) => {
        if (helper !== made) return;
        end(new SourceError("unavailable", `the helper process of libnfs ${why}`));
        next();
      },
    });
    return made;
  }

  /** Starts over what was to find out that the helper hangs. */
  function expectSign(): void {
    clearTimeout(hanging);
    if (asked.size === 0) return;
    hanging = setTimeout(() => {
      end(new SourceError("unavailable", "the helper process of libnfs gave no sign of life"));
      next();
    }, init.start.idleTimeout + patience);
  }

  function onMessage(message: FromHelper, body: Uint8Array): void {
    if ("id" in message) {
      const one = asked.get(message.id);
      if (one !== undefined) {
        for (const item of message.items ?? []) one.items.push(item);
        if (message.more !== true) {
          asked.delete(message.id);
          const { problem } = message;
          // The next one is to learn why.
          if (problem?.step === "connection" || problem?.step === "silent") check.forget();
          if (problem !== undefined) one.reject(new Unanswered(problem));
          else one.resolve({ items: one.items, facts: message.facts, bytes: body });
        }
      }
    }
    expectSign();
    next();
  }

  /** Asks what waits, as far as connections are free for it. */
  function next(): void {
    clearTimeout(unused);
    const current = helper;
    if (current === undefined) {
      // Each is asked again, and then finds another helper.
      const error = new SourceError("unavailable", "the helper process of libnfs ended");
      for (const { reject } of waiting.splice(0)) reject(error);
      return;
    }
    for (const one of waiting.splice(0, CONNECTIONS - asked.size)) {
      const id = ++lastId;
      asked.set(id, one);
      current.send({ id, question: one.question });
      if (asked.size === 1) expectSign();
    }
    if (asked.size > 0) return;
    unused = setTimeout(() => end(undefined), UNUSED);
    unused.unref();
  }

  async function ready(): Promise<void> {
    const server = await check.address();
    if (closed) throw new SourceError("unavailable", "the source was closed");
    if (helper !== undefined && helper.server !== server) {
      end(new SourceError("unavailable", "the server has another address now"));
    }
    helper ??= start(server);
  }

  function leave(one: Asked, since: number): void {
    const at = waiting.indexOf(one);
    if (at !== -1) {
      waiting.splice(at, 1);
      return;
    }
    const found = [...asked].find(([, other]) => other === one);
    if (found !== undefined) helper?.send({ cancel: found[0] });
    // It waits for the ping, and who comes next would wait for the same.
    else if (performance.now() - since > SUSPECT_AFTER_MS) check.giveUp();
  }

  return {
    async ask(question, signal) {
      signal.throwIfAborted();
      if (closed) throw new SourceError("unavailable", "the source was closed");
      const since = performance.now();
      const { promise: answer, resolve: onAnswer, reject } = Promise.withResolvers<Answer>();
      const one: Asked = { question, items: [], resolve: onAnswer, reject };
      const onAbort = () => {
        reject(signal.reason);
        leave(one, since);
      };
      signal.addEventListener("abort", onAbort, { once: true });
      try {
        const prepared = ready();
        // One that leaves does not wait for it.
        await Promise.race([prepared, answer]);
        // It may have left in the same moment.
        signal.throwIfAborted();
        waiting.push(one);
        next();
        return await answer;
      } finally {
        signal.removeEventListener("abort", onAbort);
      }
    },

    close() {
      closed = true;
      check.giveUp();
      const error = new SourceError("unavailable", "the source was closed");
      end(error);
      for (const { reject } of waiting.splice(0)) reject(error);
    },
  };
}

function startHelper(
  { start, helper }: Pick<ConnectionInit, "start" | "helper">,
  server: string,
  on: {
    onMessage(message: FromHelper, body: Uint8Array): void;
    onEnd(why: string): void;
  },
): Helper {
  const { send, kill } = startHelperProcess<FromHelper>({
    script: helper ?? new URL(`./nfs-helper${extname(import.meta.url)}`, import.meta.url),
    // Secrets of the environment are no concern of it. libnfs gets a thread for each connection.
    env: {
      PATH: process.env["PATH"],
      LD_LIBRARY_PATH: process.env["LD_LIBRARY_PATH"],
      UV_THREADPOOL_SIZE: String(CONNECTIONS + 2),
    },
    ...on,
  });
  send({ start: { ...start, server } });
  return { server, send, kill };
}
