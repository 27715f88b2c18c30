/** `@pannier/core/adapter` has what an adapter needs, and nothing else. That adapters import nothing but this is a rule of the linter. */
import { globSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { expect, test } from "vitest";
import * as entry from "@pannier/core/adapter";

const ROOT = join(import.meta.dirname, "../..");
const APART = ["bundle", "cli", "core", "daemon"];
const SOURCES = globSync("packages/*/src/**/*.ts", { cwd: ROOT })
  .filter((file) => !file.endsWith(".test.ts") && !APART.includes(file.split("/")[1] as string))
  .map((file) => ({ file, text: readFileSync(join(ROOT, file), "utf8") }));

test.each(Object.keys(entry))("an adapter uses %s", (name) => {
  const users = SOURCES.filter(
    ({ text }) =>
      text.includes('"@pannier/core/adapter"') && new RegExp(`\\b${name}\\b`).test(text),
  );
  expect(users.length).toBeGreaterThan(0);
});
