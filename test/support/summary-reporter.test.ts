import { expect, test } from "vitest";
import { addUp, report, summaryLine } from "./counts.ts";
import { describeFailure } from "./summary-reporter.ts";

test("the summary names skipped tests only when there are some", () => {
  expect(summaryLine({ passed: 3, failed: 1, skipped: 0 })).toBe("3 passed, 1 failed");
  expect(summaryLine({ passed: 3, failed: 0, skipped: 2 })).toBe("3 passed, 0 failed, 2 skipped");
});

test("several runs end with one report, whose last line is the sum", () => {
  const whole = addUp([
    { passed: 3, failed: 0, skipped: 1, skips: ["  a > b: no server"], failures: [] },
    { passed: 2, failed: 1, skipped: 0, skips: [], failures: ["  c > d\n    not so"] },
  ]);
  expect(report(whole)).toBe(
    "Skipped:\n  a > b: no server\n\nFailed:\n  c > d\n    not so\n\n5 passed, 1 failed, 1 skipped\n",
  );
});

test("a failure is told by where, what and why, without colours, and shortly", () => {
  const error = { message: "\u001b[31mno\u001b[39m file", cause: { message: "ENOENT" } };
  expect(describeFailure("a.test.ts > reads", error)).toBe(
    "  a.test.ts > reads\n    no file\n    ENOENT",
  );
  expect(describeFailure("a", { message: "x".repeat(9999) })).toHaveLength(609);
});
