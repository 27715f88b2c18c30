import { expect, test } from "vitest";
import { summaryLine } from "./summary-reporter.ts";

test("the summary names skipped tests only when there are some", () => {
  expect(summaryLine({ passed: 3, failed: 1, skipped: 0 })).toBe("3 passed, 1 failed");
  expect(summaryLine({ passed: 3, failed: 0, skipped: 2 })).toBe("3 passed, 0 failed, 2 skipped");
});
