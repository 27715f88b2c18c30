import { globSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { expect, test } from "vitest";
import { ROOT } from "../docs/pages.ts";

test("SQLite is had from the core, which tells a Node that is too old", () => {
  const past = globSync("packages/*/src/**/*.ts", { cwd: ROOT }).filter(
    (file) =>
      // A thread is started by what has asked already.
      !/(\.test|-worker)\.ts$/.test(file) &&
      /^import (?!type ).*"node:sqlite"/m.test(readFileSync(join(ROOT, file), "utf8")),
  );
  expect(past).toEqual([]);
});
