/** How far the work is: a line at the bottom of a terminal, or now and then a line of the log. Made from the engine's events alone. */
import type { Step, SyncEvent } from "@pannier/core";
import { count, formatBytes, formatDuration, grouped } from "./format.ts";
import type { Output } from "./process-context.ts";

/** Milliseconds between two drawings: fast enough to look alive, slow enough for a terminal far away. */
const REDRAW = 100;
/** Milliseconds between two lines of the log. */
const LOGGED = 10_000;
/** Milliseconds over which the rate is taken: the mean of the whole would react too late to a stall. */
const WINDOW = 5000;

export interface Progress {
  onEvent(event: SyncEvent): void;
  /** Takes the line off the screen, so that something else can be written; the next event brings it back. */
  clear(): void;
  /** Takes the line off for good. */
  stop(): void;
}

export const NO_PROGRESS: Progress = { onEvent() {}, clear() {}, stop() {} };

interface State {
  step: Step | undefined;
  entries: number;
  fetched: Extract<SyncEvent, { type: "progress" }> | undefined;
  retry: string | undefined;
  /** When and how many bytes, the oldest first, within the window. */
  marks: { readonly time: number; readonly bytes: number }[];
}

const DOING: Readonly<Record<Step, string>> = {
  probe: "asking for changes",
  list: "listing",
  plan: "comparing",
  fetch: "fetching",
  stage: "preparing",
  hook: "running the hook",
  publish: "publishing",
  collect: "cleaning up",
};

/** @param now in milliseconds; for tests */
export function makeProgress(
  output: Output,
  color: boolean,
  now: () => number = performance.now.bind(performance),
): Progress {
  const state = emptyState();
  let drawn = -Infinity;
  /** Characters of the line on the screen. */
  let shown = 0;
  let timer: NodeJS.Timeout | undefined;

  const draw = () => {
    clearTimeout(timer);
    timer = undefined;
    drawn = now();
    // One column stays free: a line that fills the last one wraps on some terminals. A width of 0 is an unknown one.
    const line = partsOf(state, drawn)
      .join("  ")
      .slice(0, (output.columns || 80) - 1);
    output.write(`${wipe()}${color ? `\u001b[2m${line}\u001b[22m` : line}`);
    shown = line.length;
  };
  /** A terminal that was made narrower shows the line on several rows: the cursor is on the last one. */
  const wipe = () => {
    const rows = Math.ceil(shown / (output.columns || 80));
    return rows > 1 ? `\r\u001b[${rows - 1}A\u001b[J` : "\r\u001b[K";
  };
  const clear = () => {
    clearTimeout(timer);
    timer = undefined;
    if (shown > 0) output.write(wipe());
    shown = 0;
  };
  return {
    onEvent(event) {
      if (!update(state, event, now())) return clear();
      const wait = drawn + REDRAW - now();
      if (wait <= 0) draw();
      else timer ??= setTimeout(draw, wait).unref();
    },
    clear,
    stop: clear,
  };
}

/**
 * For a log that is read later, as that of a pod: nothing of what ends soon, then a line each ten seconds.
 *
 * @param now in milliseconds; for tests
 */
export function logProgress(
  tell: (message: string) => void,
  now: () => number = performance.now.bind(performance),
): Progress["onEvent"] {
  const state = emptyState();
  let told = now();
  return (event) => {
    const works = update(state, event, now());
    const begins = event.type === "step" && event.step === "probe";
    if (!works || begins) told = now();
    else if (now() - told >= LOGGED) {
      told = now();
      const [doing, ...parts] = partsOf(state, told);
      const share = shareOf(state);
      const percent = share === undefined ? "" : ` ${Math.floor(share * 100)}%`;
      tell([`${doing}${percent}`, ...parts].join(", "));
    }
  };
}

/** How much of the fetch is done, from 0 to 1. */
function shareOf({ step, fetched }: State): number | undefined {
  if (step !== "fetch" || fetched === undefined) return undefined;
  const { files, totalFiles, bytes, totalBytes } = fetched;
  return totalBytes > 0 ? bytes / totalBytes : totalFiles > 0 ? files / totalFiles : undefined;
}

function emptyState(): State {
  return { step: undefined, entries: 0, fetched: undefined, retry: undefined, marks: [] };
}

/** @returns whether there is anything to show now */
function update(state: State, event: SyncEvent, time: number): boolean {
  switch (event.type) {
    case "step":
      if (event.step === "probe" || event.step === "list") {
        state.entries = 0;
        state.fetched = undefined;
        state.marks = [];
      }
      state.step = event.step;
      state.retry = undefined;
      return true;
    case "listed":
      state.entries = event.entries;
      return true;
    case "progress":
      state.fetched = event;
      state.retry = undefined;
      state.marks.push({ time, bytes: event.bytes });
      while (state.marks.length > 2 && (state.marks[1]?.time ?? time) < time - WINDOW)
        state.marks.shift();
      return true;
    case "retry":
      state.retry = `trying again in ${formatDuration(event.delay)}`;
      return true;
    case "done":
    case "failed":
    case "waiting":
      return false;
    default:
      return state.step !== undefined;
  }
}

function partsOf(state: State, time: number): string[] {
  const parts = [state.step === undefined ? "working" : DOING[state.step]];
  const { fetched } = state;
  if (state.step === "list" && state.entries > 0) parts.push(count(state.entries, "entry"));
  if (state.step === "fetch" && fetched !== undefined) {
    parts.push(`${grouped(fetched.files)}/${count(fetched.totalFiles, "file")}`);
    parts.push(`${formatBytes(fetched.bytes)} of ${formatBytes(fetched.totalBytes)}`);
    const rate = bytesPerSecond(state, time);
    if (rate > 0) {
      parts.push(`${formatBytes(Math.round(rate))}/s`);
      const left = fetched.totalBytes - fetched.bytes;
      if (left > 0) parts.push(`${formatDuration((left / rate) * 1000)} left`);
    }
  }
  if (state.retry !== undefined) parts.push(state.retry);
  return parts;
}

function bytesPerSecond(state: State, time: number): number {
  const [first] = state.marks;
  const last = state.marks.at(-1);
  if (first === undefined || last === undefined || time - first.time < 250) return 0;
  return ((last.bytes - first.bytes) / (time - first.time)) * 1000;
}
