/**
 * `@pannier/core/adapter` has what an adapter needs, and `@pannier/core/lane` what its lane needs, and nothing else. That adapters import nothing but
 * these is a rule of the linter.
 */
import { globSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { expect, test } from "vitest";
import * as adapter from "@pannier/core/adapter";
import * as lane from "@pannier/core/lane";

const ROOT = join(import.meta.dirname, "../..");
const APART = ["bundle", "cli", "core", "daemon"];
const SOURCES = globSync("packages/*/src/**/*.ts", { cwd: ROOT })
  .filter((file) => !file.endsWith(".test.ts") && !APART.includes(file.split("/")[1] as string))
  .map((file) => ({ file, text: readFileSync(join(ROOT, file), "utf8") }));

test.each([
  ...Object.keys(adapter).map((name) => [name, "@pannier/core/adapter"]),
  ...Object.keys(lane).map((name) => [name, "@pannier/core/lane"]),
])("an adapter uses %s of %s", (name, entry) => {
  const users = SOURCES.filter(
    ({ text }) => text.includes(`"${entry}"`) && new RegExp(`\\b${name}\\b`).test(text),
  );
  expect(users.length).toBeGreaterThan(0);
});
