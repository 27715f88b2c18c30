import { mkdirSync, writeFileSync } from "node:fs";
import { dirname } from "node:path";
import { stripVTControlCharacters } from "node:util";
import type { SerializedError } from "vitest";
import type { Reporter, TestCase, TestModule, TestSuite } from "vitest/node";
import { report, type Summary, summaryFile } from "./counts.ts";

declare module "vitest" {
  interface TaskMeta {
    /** Why a suite or test is skipped: `describe.skipIf(!server)("…", { meta: { skipReason } }, …)`. */
    skipReason?: string;
  }
}

/** What fits on a screen of each failure; the whole is further up. */
const MESSAGE_LENGTH = 600;

/** Two lines and more: where it failed, and with what. */
export function describeFailure(where: string, { message, cause }: SerializedError): string {
  const because = (cause as SerializedError | undefined)?.message;
  const text = stripVTControlCharacters(because === undefined ? message : `${message}\n${because}`);
  const cut = text.length > MESSAGE_LENGTH ? `${text.slice(0, MESSAGE_LENGTH)}…` : text;
  return `  ${where}\n${cut.replaceAll(/^/gm, "    ")}`;
}

/**
 * Ends a run with what was skipped and why, what failed, then the counts on a line of their own: logs are read from their
 * end. A run that turbo started is one of several: it leaves that in a file, and `test/run.ts` prints the sum.
 */
export default class SummaryReporter implements Reporter {
  onTestRunEnd(
    modules: readonly TestModule[],
    unhandledErrors: readonly SerializedError[] = [],
  ): void {
    const summary = summarize(modules, unhandledErrors);
    const { TURBO_HASH, npm_package_json, npm_lifecycle_event } = process.env;
    if (TURBO_HASH === undefined || npm_package_json === undefined) {
      process.stdout.write(report(summary));
    } else {
      const file = summaryFile(dirname(npm_package_json), npm_lifecycle_event ?? "test");
      mkdirSync(dirname(file), { recursive: true });
      writeFileSync(file, JSON.stringify(summary));
    }
  }
}

function summarize(
  modules: readonly TestModule[],
  unhandledErrors: readonly SerializedError[],
): Summary {
  // An error outside any test (an import, a hook, a stray rejection) counts as a failure:
  // the run must never read "0 failed" when it exits with an error.
  const counts = { passed: 0, failed: unhandledErrors.length, skipped: 0 };
  const skips = new Set<string>();
  const failures = unhandledErrors.map((error) => describeFailure("outside of any test", error));

  for (const module of modules) {
    for (const task of [module, ...module.children.allSuites()]) {
      const where = task.type === "suite" ? nameOf(task) : task.relativeModuleId;
      counts.failed += task.errors().length;
      failures.push(...task.errors().map((error) => describeFailure(where, error)));
    }
    for (const test of module.children.allTests()) {
      const { state, errors = [] } = test.result();
      if (state === "passed" || state === "failed") counts[state] += 1;
      else {
        counts.skipped += 1;
        skips.add(describeSkipped(test));
      }
      if (state !== "failed") continue;
      failures.push(...errors.map((error) => describeFailure(nameOf(test), error)));
    }
  }
  return { ...counts, skips: [...skips], failures };
}

function nameOf(task: TestCase | TestSuite): string {
  return `${task.module.relativeModuleId} > ${task.fullName}`;
}

/** Names the outermost suite that is skipped as a whole, so that its tests fold into one line. */
function describeSkipped(test: TestCase): string {
  const result = test.result();
  let reason = result.state === "skipped" ? result.note : undefined;
  let name = test.fullName;
  const folds = reason === undefined;
  reason ??= test.meta().skipReason;

  let parent: TestSuite | TestModule = test.parent;
  while (parent.type === "suite") {
    reason ??= parent.meta().skipReason;
    if (folds && parent.options.mode === "skip") name = parent.fullName;
    parent = parent.parent;
  }
  return `  ${parent.relativeModuleId} > ${name}: ${reason ?? "no reason given"}`;
}
