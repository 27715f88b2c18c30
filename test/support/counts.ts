/** What a run of tests ends with, alone or as the sum of several runs. */
import { join } from "node:path";

export interface Counts {
  readonly passed: number;
  readonly failed: number;
  readonly skipped: number;
}

export interface Summary extends Counts {
  /** What was skipped and why, and what failed, a text for each. */
  readonly skips: readonly string[];
  readonly failures: readonly string[];
}

/** Where a run that turbo started leaves its summary; turbo keeps it beside the output of the task. */
export function summaryFile(packageDirectory: string, task: string): string {
  return join(packageDirectory, ".turbo", `summary-${task.replaceAll(":", "-")}.json`);
}

/** The line that CI reads. */
export function summaryLine({ passed, failed, skipped }: Counts): string {
  const line = `${passed} passed, ${failed} failed`;
  return skipped > 0 ? `${line}, ${skipped} skipped` : line;
}

export function addUp(summaries: readonly Summary[]): Summary {
  const sum = (key: keyof Counts) => summaries.reduce((total, summary) => total + summary[key], 0);
  return {
    passed: sum("passed"),
    failed: sum("failed"),
    skipped: sum("skipped"),
    skips: summaries.flatMap(({ skips }) => skips),
    failures: summaries.flatMap(({ failures }) => failures),
  };
}

/** The last lines of a run: what was skipped, what failed, then the counts on a line of their own. */
export function report(summary: Summary): string {
  return `${list("Skipped", summary.skips)}${list("Failed", summary.failures)}${summaryLine(summary)}\n`;
}

function list(title: string, lines: readonly string[]): string {
  return lines.length > 0 ? `${title}:\n${lines.join("\n")}\n\n` : "";
}
