/** Running a hook's command: its environment, its output, its end. */
import { spawn } from "node:child_process";
import { randomBytes } from "node:crypto";
import { once } from "node:events";
import { HookError, startTimer } from "@pannier/core";
import { endLeftBehind, listProcesses, MARK } from "./left-behind.ts";

/** A run of a hook that did not do what it was to do. */
export class HookFailure extends HookError {
  override readonly name = "HookFailure";
  readonly timedOut: boolean;
  constructor(message: string, init: ErrorOptions & { readonly timedOut?: boolean } = {}) {
    super(message, init);
    this.timedOut = init.timedOut ?? false;
  }
}

/** What of our environment a hook gets: where things are and how to speak, and nothing that could be a secret. */
const PASSED_ON = ["PATH", "HOME", "USER", "LOGNAME", "SHELL", "TMPDIR", "TZ", "LANG", "LANGUAGE"];

/** What the hook is about. */
export interface HookSubject {
  readonly mount: string;
  readonly revision: string;
  readonly previousRevision: string | undefined;
  /** Absolute path of the tree. */
  readonly path: string;
  /** Absolute path of the file that lists the changed paths. */
  readonly changes: string;
}

export function hookEnvironment(
  ours: Readonly<Record<string, string | undefined>>,
  subject: HookSubject,
  own: Readonly<Record<string, string>>,
): Record<string, string> {
  const passed = Object.entries(ours).filter(
    ([name, value]) => value !== undefined && (PASSED_ON.includes(name) || name.startsWith("LC_")),
  );
  return {
    ...(Object.fromEntries(passed) as Record<string, string>),
    PANNIER_MOUNT: subject.mount,
    PANNIER_REVISION: subject.revision,
    PANNIER_PREVIOUS_REVISION: subject.previousRevision ?? "",
    PANNIER_PATH: subject.path,
    PANNIER_CHANGES: subject.changes,
    ...own,
  };
}

/** Shorter ones would mangle ordinary words without hiding anything. */
const SHORTEST_SECRET = 4;

/** What the user gave to a hook beside the usual may be secret; its output goes to the log, and to whoever asks for the status. */
function withoutValues(text: string, own: Readonly<Record<string, string>>): string {
  return Object.values(own)
    .filter(({ length }) => length >= SHORTEST_SECRET)
    .toSorted((a, b) => b.length - a.length)
    .reduce((clean, value) => clean.replaceAll(value, "***"), text);
}

export interface CommandInit {
  readonly command: readonly string[];
  readonly cwd: string;
  readonly env: Readonly<Record<string, string>>;
  /** Of `env`, what the user gave. */
  readonly own: Readonly<Record<string, string>>;
  /** Milliseconds. */
  readonly timeout: number;
  /** Asks it to end. */
  readonly signal: AbortSignal;
  /** Ends it. */
  readonly kill: AbortSignal;
}

/** Time between asking a process group to end and ending it. */
export const KILL_AFTER_MS = 2000;
/** Characters of the output that are kept for a message. */
const TAIL = 2000;

/**
 * Runs a command in a process group of its own, and leaves nothing behind: what the command started and did not wait for is
 * killed when it ends, in sessions of its own as well, so that no orphan is left to whoever is process 1.
 *
 * @throws HookFailure when it cannot be started, ends with anything but 0, or takes too long; the signal's reason
 */
export async function runCommand(init: CommandInit): Promise<void> {
  const { signal, timeout } = init;
  const before = await listProcesses();
  signal.throwIfAborted();
  const [program = "", ...args] = init.command;
  const mark = randomBytes(16).toString("hex");
  const child = spawn(program, args, {
    cwd: init.cwd,
    env: { ...init.env, [MARK]: mark },
    detached: true,
    stdio: ["ignore", "pipe", "pipe"],
  });
  // Before anything else: where no more files may be opened it has no streams, and says why in an event.
  const exited = once(child, "exit") as Promise<[number | null, NodeJS.Signals | null]>;
  exited.catch(() => {});
  const streams = [child.stdout, child.stderr].filter((stream) => stream !== undefined);
  let output = "";
  // A value is known only as a whole.
  const kept = TAIL + Math.max(0, ...Object.values(init.own).map(({ length }) => length));
  for (const stream of streams)
    stream.setEncoding("utf8").on("data", (text: string) => {
      output = (output + text).slice(-kept);
    });
  const kill = (how: NodeJS.Signals) => killGroup(child.pid, how);
  const killNow = () => kill("SIGKILL");
  let timedOut = false;
  let lastResort: NodeJS.Timeout | undefined;
  const end = () => {
    kill("SIGTERM");
    lastResort ??= setTimeout(killNow, KILL_AFTER_MS);
  };
  const clock = startTimer(() => {
    timedOut = true;
    end();
  }, timeout);
  signal.addEventListener("abort", end, { once: true });
  init.kill.addEventListener("abort", killNow, { once: true });
  try {
    // Not `close`: a grandchild may hold the pipes open.
    const [code, by] = await exited;
    killNow();
    await endLeftBehind(mark, before);
    await drained(...streams);
    signal.throwIfAborted();
    const tail = withoutValues(output, init.own).slice(-TAIL).trim();
    const said = tail === "" ? "" : `: ${tail}`;
    if (timedOut)
      throw new HookFailure(`it did not end within ${timeout / 1000} s and was killed${said}`, {
        timedOut,
      });
    if (code !== 0)
      throw new HookFailure(
        `${code === null ? `it was ended by ${by}` : `it ended with code ${code}`}${said}`,
      );
  } catch (error) {
    if (error instanceof HookFailure || signal.aborted) throw error;
    const { code } = error as NodeJS.ErrnoException;
    throw new HookFailure(`it cannot be started (${code ?? (error as Error).message})`, {
      cause: error,
    });
  } finally {
    clearTimeout(clock);
    clearTimeout(lastResort);
    signal.removeEventListener("abort", end);
    init.kill.removeEventListener("abort", killNow);
    for (const stream of streams) stream.destroy();
  }
}

function killGroup(pid: number | undefined, signal: NodeJS.Signals): void {
  if (pid === undefined) return;
  try {
    process.kill(-pid, signal);
  } catch {
    // Nobody is left.
  }
}

/** What is in the pipes already is read; nobody of the group is left to write more. */
async function drained(...streams: readonly NodeJS.ReadableStream[]): Promise<void> {
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<void>((resolve) => {
    timer = setTimeout(resolve, 200);
  });
  const ends = streams.map((stream) =>
    (stream as { readableEnded?: boolean }).readableEnded === true
      ? undefined
      : once(stream, "end").catch(() => {}),
  );
  await Promise.race([Promise.all(ends), late]);
  clearTimeout(timer);
}
