/** The log, on standard error: one line a message. */
import { describeFailure, failureLine, oneLine, type SyncEvent } from "@pannier/core";
import type { Log } from "@pannier/daemon";
import { label } from "./label.ts";
import type { Redact } from "./redact.ts";
import { count, formatDuration } from "./format.ts";
import type { Output } from "./process-context.ts";

export type { Log };
type Level = Parameters<Log>[0];

const LEVELS: readonly Level[] = ["debug", "info", "warn", "error"];

/** JSON in one line, with every text in it redacted. */
export function toJson(value: unknown, redact: Redact): string {
  return JSON.stringify(value, (_, part: unknown) =>
    typeof part === "string" ? redact(part) : part,
  );
}

export interface LogInit {
  readonly output: Output;
  readonly format: "text" | "json";
  readonly level: Level;
  readonly redact: Redact;
  /** Called before each line, to take the progress off the screen. */
  readonly before?: () => void;
  /** With the time of each line, as a log that is kept wants it. */
  readonly timestamps: boolean;
  readonly color: boolean;
}

export function makeLog(init: LogInit): Log {
  const { output, format, redact } = init;
  return (level, message, fields = {}) => {
    if (LEVELS.indexOf(level) < LEVELS.indexOf(init.level)) return;
    init.before?.();
    const time = new Date().toISOString();
    if (format === "json") {
      output.write(`${toJson({ time, level, msg: message, ...fields }, redact)}\n`);
      return;
    }
    const prefix = init.timestamps
      ? `${time} ${level.padEnd(5)}`
      : `pannier: ${label(level, init.color)}`;
    const extra = Object.entries(fields)
      .filter(([, value]) => value !== undefined)
      .map(
        ([name, value]) =>
          ` ${name}=${typeof value === "string" && /^[^\s"=]+$/.test(value) ? value : JSON.stringify(value)}`,
      )
      .join("");
    output.write(`${prefix} ${redact(oneLine(`${message}${extra}`))}\n`);
  };
}

export function logRetry(
  log: Log,
  what: string,
  told: { readonly error: Error; readonly attempt: number; readonly delay: number },
): void {
  const { error, attempt, delay } = told;
  const message = `${what} failed and is tried again in ${formatDuration(delay)}: ${error.message}`;
  log("warn", message, { attempt });
}

/** What of the engine's events belongs in a log. */
export function logEvent(log: Log, event: SyncEvent): void {
  switch (event.type) {
    case "step":
      return log("debug", event.step);
    case "planned": {
      const { type: _, ...totals } = event;
      return log("debug", "planned", totals);
    }
    case "retry":
      return logRetry(log, event.what, event);
    case "warning":
      return log("warn", event.message);
    case "healed":
      return log("warn", `repaired: ${event.message}`);
    case "failed":
      return log(levelOf(event), failureLine(describeFailure(event.error, "variables"), "follow"), {
        failures: event.failures,
        next: Number.isFinite(event.delay) ? formatDuration(event.delay) : undefined,
      });
    case "recovered": {
      const how = event.tookOver ? "took the target over" : "recovered";
      const tries = `${count(event.failures, "failure")}, ${formatDuration(event.duration)}`;
      return log("info", `${how} after ${tries}`);
    }
    case "waiting":
      return log("debug", `waiting ${formatDuration(event.delay)}`);
    default:
      return;
  }
}

/** A second Pannier at a target is there on purpose, as a rule: it waits. */
function levelOf(event: Extract<SyncEvent, { type: "failed" }>): Level {
  if (event.repeated) return "debug";
  return (event.error as { readonly busy?: boolean }).busy === true ? "warn" : "error";
}
