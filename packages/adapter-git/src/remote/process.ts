/** Repositories reached through a program: `ssh`, or `git upload-pack` for one on this machine. */
import { type ChildProcessWithoutNullStreams, spawn } from "node:child_process";
import type { Readable, Writable } from "node:stream";
import { SourceError } from "@pannier/core/adapter";
import { cutShort, FLUSH, PacketReader, printable } from "./pkt-line.ts";
import { fetchRequest, readAdvertisement, readFetch, readRefs, refsRequest } from "./protocol.ts";
import type { Remote } from "./remote.ts";

/** Of what a program said before it failed. */
const LAST_LINES = 5;

/** A program to run, and what its failure means. */
export interface Command {
  readonly program: string;
  readonly args: readonly string[];
  readonly env: NodeJS.ProcessEnv;
  /** Called once the program has ended. */
  dispose?(): Promise<void>;
}

/** The other end of a conversation: a program, here or on another machine. */
export interface Running {
  readonly stdin: Writable;
  readonly stdout: Readable;
  readonly stderr: Readable;
  kill(): void;
  /** Resolves when it is gone. */
  readonly ended: Promise<void>;
  /** Why it did not come to run, where it did not. */
  failure(): SourceError | undefined;
}

export interface ProcessRemoteInit {
  /** Called again for each conversation, so that rotated keys are taken over. */
  start(): Promise<Running>;
  /** What a failed program's last words mean. */
  failure(stderr: string): SourceError;
  /** Milliseconds without a sign of life after which the program is killed. */
  readonly idleTimeout: number;
  request(operation: string): void;
}

export function processRemote(init: ProcessRemoteInit): Remote {
  const running = new Set<Conversation>();

  async function start(operation: string, signal: AbortSignal): Promise<Conversation> {
    init.request(operation);
    signal.throwIfAborted();
    const conversation = converse(await init.start(), init, signal);
    running.add(conversation);
    void conversation.ended.finally(() => running.delete(conversation));
    return conversation;
  }

  return {
    async refs(prefixes, signal) {
      const conversation = await start("refs", signal);
      const { reader } = conversation;
      try {
        const { version, refs, capabilities } = await readAdvertisement(reader, prefixes);
        if (version === 0) {
          conversation.end(FLUSH);
          return refs;
        }
        const format = capabilities.has("object-format=sha256") ? "sha256" : "sha1";
        conversation.end(refsRequest(prefixes, format) + FLUSH);
        return await readRefs(reader, prefixes);
      } catch (error) {
        throw await conversation.explain(error);
      } finally {
        await conversation.ended;
      }
    },
    async fetch(request, signal) {
      const conversation = await start("fetch", signal);
      const { reader } = conversation;
      try {
        const advertisement = await readAdvertisement(reader, []);
        conversation.end(fetchRequest(request, advertisement));
        const result = await readFetch(reader, advertisement.version, request.depth);
        const close = () => {
          conversation.kill();
          return conversation.ended;
        };
        return { ...result, pack: packOf(conversation, result.pack), close };
      } catch (error) {
        throw await conversation.explain(error);
      }
    },
    async close() {
      for (const conversation of running) conversation.kill();
      await Promise.all([...running].map(({ ended }) => ended));
    },
  };
}

/** The pack, with an error that says why where the program failed. */
async function* packOf(
  conversation: Conversation,
  pack: AsyncIterable<Uint8Array>,
): AsyncGenerator<Uint8Array> {
  try {
    yield* pack;
  } catch (error) {
    throw await conversation.explain(error);
  }
}

interface Conversation {
  readonly reader: PacketReader;
  /** Resolves when the program is gone. */
  readonly ended: Promise<void>;
  /** Says the last that we have to say. */
  end(text: string): void;
  kill(): void;
  /** What made a conversation fail: the program's own words tell more than where it broke off. */
  explain(error: unknown): Promise<unknown>;
}

function converse(program: Running, init: ProcessRemoteInit, signal: AbortSignal): Conversation {
  let stderr = "";
  let stalled = false;
  const stall = () => {
    stalled = true;
    program.kill();
  };
  signal.addEventListener("abort", program.kill, { once: true });
  if (signal.aborted) program.kill();
  program.stdin.on("error", () => {}); // The program ended first: its own words tell more.
  program.stderr.setEncoding("utf8").on("data", (text: string) => {
    stderr = (stderr + text).slice(-8192);
  });
  const ended = program.ended.finally(() => signal.removeEventListener("abort", program.kill));

  return {
    reader: new PacketReader(watched(program.stdout, init.idleTimeout, stall)),
    ended,
    kill: program.kill,
    end: (text) => void program.stdin.end(text),
    async explain(error) {
      const reason = error instanceof SourceError ? error : cutShort();
      const cut = reason.code === "unavailable";
      // Cut short, it has ended or is about to; anything else is a conversation that we do not want to go on with.
      if (!cut) program.kill();
      await ended;
      if (signal.aborted) return signal.reason;
      const failure = program.failure();
      if (failure !== undefined) return failure;
      if (stalled) {
        const text = `the server gave no sign of life for ${init.idleTimeout} ms`;
        return new SourceError("unavailable", text);
      }
      return cut && stderr.trim() !== "" ? init.failure(stderr) : reason;
    },
  };
}

/** Starts a program on this machine, in a process group of its own: what it starts (a proxy command, pack-objects) is killed with it. */
export function startProgram({ program, args, env, dispose }: Command): Running {
  const child = spawn(program, args, { env, detached: true, stdio: ["pipe", "pipe", "pipe"] });
  let failure: SourceError | undefined;
  const closed = new Promise<void>((resolve) => {
    child.once("error", (error) => {
      failure = new SourceError("unsupported", `the program "${program}" cannot be started`, {
        hint: `install ${program}`,
        cause: error,
      });
      resolve();
    });
    child.once("close", () => resolve());
  });
  const { stdin, stdout, stderr } = child;
  return {
    stdin,
    stdout,
    stderr,
    ended: closed.finally(() => dispose?.()),
    failure: () => failure,
    kill() {
      killGroup(child);
      // Output that nobody reads would keep it from being closed.
      stdout.destroy();
    },
  };
}

/** Counts only the time that is spent waiting for the other side, not that in which what came is worked on. */
async function* watched(
  stream: AsyncIterable<Uint8Array>,
  limit: number,
  stall: () => void,
): AsyncGenerator<Uint8Array> {
  let timer = setTimeout(stall, limit);
  try {
    for await (const chunk of stream) {
      clearTimeout(timer);
      yield chunk;
      timer = setTimeout(stall, limit);
    }
  } finally {
    clearTimeout(timer);
  }
}

/** Kills a program started with `detached`, and everything it started. */
export function killGroup(child: Pick<ChildProcessWithoutNullStreams, "pid">): void {
  try {
    if (child.pid !== undefined) process.kill(-child.pid, "SIGKILL");
  } catch {
    // It is gone already.
  }
}

/** The last lines of a program's error output that say something: the very last alone is mostly advice. */
export function lastWords(stderr: string): string {
  const lines = stderr
    .split(/[\n\r]/)
    .map((line) => line.replace(/^((fatal|error|remote|ERROR|warning): *)+/, "").trim())
    .filter((line) => /[\p{L}\p{N}]/u.test(line));
  return printable(lines.slice(-LAST_LINES).join("; ")) || "it said nothing";
}
