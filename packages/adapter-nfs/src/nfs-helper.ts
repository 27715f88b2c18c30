/**
 * The process that libnfs runs in, so that what crashes or hangs is not the one that syncs. It answers questions from its
 * channel until that is closed, several at once, each on a connection of its own.
 */
import { Socket } from "node:net";
import { CHANNEL, createFrameReader, encodeFrame } from "@pannier/helper-process";
import { loadLibnfs } from "./libnfs.ts";
import { type Connection, createPool, type Pool, type Seeker } from "./pool.ts";
import type { FromHelper, Problem, Question, Start, ToHelper } from "./protocol.ts";
import { NfsProblem } from "./problem.ts";

/** Milliseconds that a call which nobody waits for any longer may still take. */
const LEAVE = 100;
/** Milliseconds between signs of life. */
const SIGN = 1000;
/** Broken connections, of each of which libnfs keeps some kilobytes, after which a fresh process is better. */
const MOST_BROKEN = 200;

interface Job extends Seeker {
  readonly ready: Promise<Connection>;
  connection?: Connection;
}

const channel = new Socket({ fd: CHANNEL });
const jobs = new Map<number, Job>();
let pool: Promise<Pool> | undefined;
let ticking: NodeJS.Timeout | undefined;

channel.on("error", () => {});
// Who asked is gone. A plain exit would wait for the calls that are under way.
channel.on("close", die);
channel.on(
  "data",
  createFrameReader<ToHelper>((message) => {
    if ("start" in message) begin(message.start);
    else if ("cancel" in message) cancel(message.cancel);
    else void answer(message.id, message.question);
  }),
);

function begin(start: Start): void {
  pool = makePool(start);
  pool.catch(() => {});
  const period = Math.max(20, Math.min(SIGN, start.idleTimeout / 8));
  let signed = 0;
  ticking = setInterval(() => {
    if (jobs.size === 0) return;
    const now = performance.now();
    void pool?.then(
      (made) => made.watch(now),
      () => {},
    );
    if (now - signed < SIGN) return;
    signed = now;
    send({ alive: true });
  }, period);
}

async function makePool(start: Start): Promise<Pool> {
  const { default: koffi } = await import("koffi").catch(without("koffi"));
  return createPool(await loadLibnfs(koffi).catch(without("library")), start);
}

function without(step: "koffi" | "library") {
  return (error: Error): never => {
    throw new NfsProblem({ step, errno: 0, text: error.message });
  };
}

function send(message: FromHelper, body?: Uint8Array): void {
  for (const part of encodeFrame(message, body)) channel.write(part);
}

async function answer(id: number, question: Question): Promise<void> {
  const { promise: ready, resolve, reject } = Promise.withResolvers<Connection>();
  const job: Job = { ready, resolve, reject };
  jobs.set(id, job);
  let connections: Pool | undefined;
  try {
    connections = await (pool as Promise<Pool>);
    if (question.ask === "look") connections.look(job);
    else connections.take(job);
    job.connection = await ready;
    try {
      await carryOut(id, question, job.connection);
    } finally {
      connections.give(job.connection);
    }
  } catch (error) {
    send({ id, problem: toProblem(error) });
  } finally {
    jobs.delete(id);
  }
  if (connections !== undefined && connections.broken > MOST_BROKEN) die();
}

async function carryOut(id: number, question: Question, { session, root }: Connection) {
  if (question.ask === "look") return send({ id, facts: root.facts });
  const path = `${root.path}${question.path === "" ? "" : `/${question.path}`}`;
  if (question.ask === "list") {
    await session.list(path, question.most, (items) => send({ id, items, more: true }));
    return send({ id, items: [] });
  }
  const { facts, bytes } = await session.read(path, question.offset, question.length);
  send({ id, facts }, bytes);
}

function cancel(id: number): void {
  setTimeout(() => {
    const job = jobs.get(id);
    if (job === undefined) return;
    if (job.connection !== undefined) job.connection.session.cut();
    else void pool?.then((connections) => connections.leave(job));
  }, LEAVE);
}

function toProblem(error: unknown): Problem {
  if (error instanceof NfsProblem) return error.problem;
  return { step: "connection", errno: 0, text: String(error) };
}

function die(): void {
  clearInterval(ticking);
  process.kill(process.pid, "SIGKILL");
}
