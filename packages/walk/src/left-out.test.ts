import { expect, test } from "vitest";
import { leftOutWarning } from "./left-out.ts";

test("what is left out is told once in the life of a source, and nothing is where nothing is left out", () => {
  const warnings: string[] = [];
  const tell = leftOutWarning((message) => void warnings.push(message));
  tell(new Set());
  expect(warnings).toEqual([]);
  tell(new Set(["run/socket", "run/fifo", "dev/null"]));
  tell(new Set(["run/socket"]));
  expect(warnings).toEqual([
    'left out what is no file, directory or symlink: "run/socket" and 2 more',
  ]);
});
