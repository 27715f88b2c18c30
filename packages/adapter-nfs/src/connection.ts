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
  /** Ends it; nothing is heard of it any more. */
  kill(): void;
}

export function createConnection(init: ConnectionInit): Connection {
  const { pingTarget, patience = HELPER_GRACE_MS } = init;
  const check = checkServer(pingTarget);
  const questions = createQuestions();
  let helper: Helper | undefined;
  let closed = false;
  const unused = createTimer(UNUSED, () => end(undefined));
  const hanging = createTimer(init.start.idleTimeout + patience, () => {
    end(new SourceError("unavailable", "the helper process of libnfs gave no sign of life"));
    next();
  });

  function end(error: unknown): void {
    const ended = helper;
    helper = undefined;
    check.forget();
    hanging.stop();
    unused.stop();
    ended?.kill();
    questions.fail(error);
  }

  function onEnd(why: string): void {
    end(new SourceError("unavailable", `the helper process of libnfs ${why}`));
    next();
  }

  function onMessage(message: FromHelper, body: Uint8Array): void {
    const problem = "id" in message ? questions.answer(message, body) : undefined;
    // The next one is to learn why.
    if (problem?.step === "connection" || problem?.step === "silent") check.forget();
    if (questions.owed > 0) hanging.start();
    else hanging.stop();
    next();
  }

  /** Asks what waits, as far as connections are free for it. */
  function next(): void {
    unused.stop();
    if (helper === undefined) {
      // Each is asked again, and then finds another helper.
      questions.failWaiting(new SourceError("unavailable", "the helper process of libnfs ended"));
      return;
    }
    const wasIdle = questions.owed === 0;
    questions.send(helper);
    if (questions.owed === 0) unused.start().unref();
    else if (wasIdle) hanging.start();
  }

  async function ready(): Promise<void> {
    const server = await check.address();
    if (closed) throw wasClosed();
    if (helper !== undefined && helper.server !== server) {
      end(new SourceError("unavailable", "the server has another address now"));
    }
    helper ??= startHelper(init, server, { onMessage, onEnd });
  }

  return {
    async ask(question, signal) {
      signal.throwIfAborted();
      if (closed) throw wasClosed();
      const since = performance.now();
      const { promise: answer, resolve: onAnswer, reject } = Promise.withResolvers<Answer>();
      const one: Asked = { question, items: [], resolve: onAnswer, reject };
      const onAbort = () => {
        reject(signal.reason);
        const isKnown = questions.cancel(one, helper);
        // It waits for the ping, and who comes next would wait for the same.
        if (!isKnown && performance.now() - since > SUSPECT_AFTER_MS) check.giveUp();
      };
      signal.addEventListener("abort", onAbort, { once: true });
      try {
        const prepared = ready();
        // One that leaves does not wait for it.
        await Promise.race([prepared, answer]);
        // It may have left in the same moment.
        signal.throwIfAborted();
        questions.add(one);
        next();
        return await answer;
      } finally {
        signal.removeEventListener("abort", onAbort);
      }
    },

    close() {
      closed = true;
      check.giveUp();
      end(wasClosed());
      questions.failWaiting(wasClosed());
    },
  };
}

const wasClosed = () => new SourceError("unavailable", "the source was closed");

/** A timer; each start begins its time again. */
function createTimer(milliseconds: number, onTime: () => void) {
  let timer: NodeJS.Timeout | undefined;
  const stop = () => clearTimeout(timer);
  return {
    start(): NodeJS.Timeout {
      stop();
      return (timer = setTimeout(onTime, milliseconds));
    },
    stop,
  };
}

/** Questions on their way to the helper, and those that it was asked. */
function createQuestions() {
  const waiting: Asked[] = [];
  /** What the helper was asked and has not answered yet, also where nobody waits for it any longer. */
  const asked = new Map<number, Asked>();
  let lastId = 0;

  return {
    /** Answers that the helper owes. */
    get owed(): number {
      return asked.size;
    },
    add(one: Asked): void {
      waiting.push(one);
    },
    send(helper: Helper): void {
      for (const one of waiting.splice(0, CONNECTIONS - asked.size)) {
        const id = ++lastId;
        asked.set(id, one);
        helper.send({ id, question: one.question });
      }
    },
    /** @returns why the question could not be answered, if so */
    answer(
      message: Extract<FromHelper, { readonly id: number }>,
      body: Uint8Array,
    ): Problem | undefined {
      const { id, items = [], facts, problem } = message;
      const one = asked.get(id);
      if (one === undefined) return undefined;
      for (const item of items) one.items.push(item);
      if (message.more === true) return undefined;
      asked.delete(id);
      if (problem !== undefined) one.reject(new Unanswered(problem));
      else one.resolve({ items: one.items, facts, bytes: body });
      return problem;
    },
    /** @returns whether it was here */
    cancel(one: Asked, helper: Helper | undefined): boolean {
      const at = waiting.indexOf(one);
      if (at !== -1) waiting.splice(at, 1);
      const found = [...asked].find(([, other]) => other === one);
      if (found !== undefined) helper?.send({ cancel: found[0] });
      return at !== -1 || found !== undefined;
    },
    /** Fails what the helper was asked. */
    fail(error: unknown): void {
      const lost = [...asked.values()];
      asked.clear();
      for (const { reject } of lost) reject(error);
    },
    failWaiting(error: unknown): void {
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
  let isKilled = false;
  const { send, kill } = startHelperProcess<FromHelper>({
    script: helper ?? new URL(`./nfs-helper${extname(import.meta.url)}`, import.meta.url),
    // Secrets of the environment are no concern of it. libnfs gets a thread for each connection.
    env: {
      PATH: process.env["PATH"],
      LD_LIBRARY_PATH: process.env["LD_LIBRARY_PATH"],
      UV_THREADPOOL_SIZE: String(CONNECTIONS + 2),
    },
    onMessage: (message, body) => {
      if (!isKilled) on.onMessage(message, body);
    },
    onEnd: (why) => {
      if (!isKilled) on.onEnd(why);
    },
  });
  send({ start: { ...start, server } });
  return {
    server,
    send,
    kill() {
      isKilled = true;
      kill();
    },
  };
}
