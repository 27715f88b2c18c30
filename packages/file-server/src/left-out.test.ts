import { expect, test } from "vitest";
import { leftOutWarning } from "./left-out.ts";

test("what is left out is told once in the life of a source, and nothing is where nothing is left out", () => {
  const warnings: string[] = [];
  const list = leftOutWarning((message) => warnings.push(message));
  list().tell();
  for (const paths of [["run/socket", "run/fifo", "dev/null"], ["run/socket"]]) {
    const leftOut = list();
    paths.forEach(leftOut.add);
    leftOut.tell();
  }
  expect(warnings).toEqual(['left out a FIFO, a socket or a device: "run/socket" and 2 more']);
});
