import type { SerializedError } from "vitest";
import type { Reporter, TestCase, TestModule, TestSuite } from "vitest/node";

declare module "vitest" {
  interface TaskMeta {
    /** Why a suite or test is skipped: `describe.skipIf(!server)("…", { meta: { skipReason } }, …)`. */
    skipReason?: string;
  }
}

export interface Counts {
  passed: number;
  failed: number;
  skipped: number;
}

/** The line that CI reads. */
export function summaryLine({ passed, failed, skipped }: Counts): string {
  const line = `${passed} passed, ${failed} failed`;
  return skipped > 0 ? `${line}, ${skipped} skipped` : line;
}

/** Ends a run with what was skipped and why, then the counts on a line of their own. */
export default class SummaryReporter implements Reporter {
  onTestRunEnd(
    modules: readonly TestModule[],
    unhandledErrors: readonly SerializedError[] = [],
  ): void {
    // An error outside any test (an import, a hook, a stray rejection) counts as a failure:
    // the run must never read "0 failed" when it exits with an error.
    const counts: Counts = { passed: 0, failed: unhandledErrors.length, skipped: 0 };
    const skipped = new Set<string>();

    for (const module of modules) {
      for (const task of [module, ...module.children.allSuites()]) {
        counts.failed += task.errors().length;
      }
      for (const test of module.children.allTests()) {
        const { state } = test.result();
        if (state === "passed" || state === "failed") counts[state] += 1;
        else {
          counts.skipped += 1;
          skipped.add(describeSkipped(test));
        }
      }
    }

    const report = skipped.size > 0 ? `Skipped:\n${[...skipped].join("\n")}\n\n` : "";
    process.stdout.write(`${report}${summaryLine(counts)}\n`);
  }
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
