/** The program from its arguments to its exit code. */
import { readFile } from "node:fs/promises";
import { describeFailure, failureLine, oneLine, type SyncEvent } from "@pannier/core";
import {
  credentialsFromEnvironment,
  environmentSources,
  mistypedVariables,
  secretsFromEnvironment,
  terminalFromEnvironment,
} from "./environment.ts";
import { label } from "./label.ts";
import type { Invocation } from "./invocation.ts";
import { type Log, logEvent, makeLog, toJson } from "./log.ts";
import { ReportedError } from "./reported-error.ts";
import { type CommandLine, parseCommandLine } from "./program.ts";
import { logProgress, makeProgress, NO_PROGRESS, type Progress } from "./progress.ts";
import { makeRedact, type Redact } from "./redact.ts";
import type { Output, ProcessContext } from "./process-context.ts";

/** @returns the exit code */
export async function main(argv: readonly string[], context: ProcessContext): Promise<number> {
  const redact = redactFor(argv, context);
  let line: CommandLine | undefined;
  try {
    const { version } = JSON.parse(
      await readFile(new URL("../package.json", import.meta.url), "utf8"),
    ) as { version: string };
    line = parseCommandLine(argv, context.env, version, context.stdout);
    return line === undefined ? 0 : await runCommand(line, context, redact);
  } catch (error) {
    return fail(error, context, redact, line, argv.includes("--json"));
  }
}

/** For what is thrown where nobody can catch it. @returns the exit code */
export function failUncaught(
  error: unknown,
  argv: readonly string[],
  context: ProcessContext,
): number {
  return fail(error, context, redactFor(argv, context), undefined, argv.includes("--json"));
}

function redactFor(argv: readonly string[], { env }: ProcessContext): Redact {
  return makeRedact([...argv, ...environmentSources(env)], secretsFromEnvironment(env));
}

async function runCommand(
  line: CommandLine,
  context: ProcessContext,
  redact: Redact,
): Promise<number> {
  const { spec, args, settings } = line;
  const progress = progressOn(context.stderr, line, context);
  const log = makeLog({
    output: context.stderr,
    format: settings.logFormat ?? "text",
    level: settings.logLevel ?? "info",
    redact,
    before: progress.clear,
    timestamps: spec.name === "watch" || spec.name === "run",
    color: hasColor(context),
  });
  for (const [name, meant] of mistypedVariables(context.env))
    log("warn", `the variable ${name} is not known and has no effect. Did you mean ${meant}?`);
  const ending = endOnSignal(context);
  try {
    return await (
      await spec.load()
    ).run({
      args,
      settings,
      version: line.version,
      credentials: credentialsFromEnvironment(context.env, context.cwd),
      context,
      signal: ending.signal,
      redact,
      log,
      onEvent: eventSink(progress, log),
      clearProgress: progress.clear,
      print: (text) => write(context.stdout, `${text}\n`),
      printJson: (value) => write(context.stdout, `${toJson(value, redact)}\n`),
    });
  } catch (error) {
    progress.stop();
    if (ending.code() !== undefined && isAbort(error)) {
      log("warn", "stopped by a signal; what was published before is untouched");
      return ending.code() as number;
    }
    throw error;
  } finally {
    progress.stop();
    ending.dispose();
  }
}

function progressOn(output: Output, { settings }: CommandLine, context: ProcessContext): Progress {
  const { dumb, color } = terminalFromEnvironment(context.env);
  if (output.isTTY !== true || dumb || settings.logFormat === "json") return NO_PROGRESS;
  return makeProgress(output, color);
}

function hasColor({ env, stderr }: ProcessContext): boolean {
  return stderr.isTTY === true && terminalFromEnvironment(env).color;
}

function eventSink(progress: Progress, log: Log): Invocation["onEvent"] {
  const onProgress =
    progress === NO_PROGRESS ? logProgress((message) => log("info", message)) : progress.onEvent;
  return (event: SyncEvent) => {
    onProgress(event);
    logEvent(log, event);
  };
}

/** The shell's numbers for a program that a signal ended. */
const CODES = { SIGHUP: 129, SIGINT: 130, SIGTERM: 143 } as const;
const SIGNALS = Object.keys(CODES) as (keyof typeof CODES)[];

/** npm passes a Ctrl-C on that the terminal has sent to us already: this soon, a second signal is the first one again. */
const ECHO = 1000;

/** The first signal asks for a clean end; after it they have their usual effect, so that another one ends the process at once. */
function endOnSignal({ signals }: ProcessContext) {
  const controller = new AbortController();
  let code: number | undefined;
  const dispose = () => {
    for (const signal of SIGNALS) signals.off(signal, listener);
  };
  const listener = (signal: NodeJS.Signals) => {
    if (code !== undefined) return;
    code = CODES[signal as keyof typeof CODES];
    setTimeout(dispose, ECHO).unref();
    controller.abort();
  };
  for (const signal of SIGNALS) signals.on(signal, listener);
  return { signal: controller.signal, code: () => code, dispose };
}

function isAbort(error: unknown): boolean {
  return (
    error instanceof Error &&
    (error.name === "AbortError" || (error.cause !== undefined && isAbort(error.cause)))
  );
}

function fail(
  thrown: unknown,
  context: ProcessContext,
  redact: Redact,
  line: CommandLine | undefined,
  json: boolean,
): number {
  const reported = thrown instanceof ReportedError;
  const error = reported ? thrown.cause : thrown;
  const failure = describeFailure(error, "variables");
  if (!reported && (json || line?.settings.json === true))
    context.stdout.write(`${toJson({ error: failure }, redact)}\n`);
  context.stderr.write(
    `pannier: ${label("error", hasColor(context))} ${redact(failureLine(failure, line?.spec.verb ?? "run"))}\n`,
  );
  if (failure.code === "bug") {
    context.stderr.write(
      `${redact(String((error as Error).stack))}\npannier: this is a bug in Pannier. Please report it, with the lines above\n`,
    );
  } else if (line?.settings.logLevel === "debug") {
    for (let { cause } = error as Error; cause instanceof Error; { cause } = cause)
      context.stderr.write(
        `pannier: ${label("debug", hasColor(context))} because: ${redact(oneLine(cause.message))}\n`,
      );
  }
  return failure.exitCode;
}

function write(output: Output, text: string): Promise<void> {
  return new Promise((done) => {
    if (output.write(text)) done();
    else output.once("drain", done);
  });
}
