/** No error of ours escapes the base error, and with it a code, an exit code and a hint. */
import { globSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { expect, test } from "vitest";

const ROOT = join(import.meta.dirname, "../..");
const FILES = globSync(["packages/*/src/**/*.ts", "apps/*/src/**/*.ts"], { cwd: ROOT })
  .filter((file) => !file.endsWith(".test.ts"))
  .map((file) => ({ file, text: readFileSync(join(ROOT, file), "utf8") }));
const CLASSES = FILES.flatMap(({ file, text }) =>
  Array.from(text.matchAll(/\bclass (\w+)(?:<[^>]*>)? extends ([\w.]+)/g), ([, name, base]) => ({
    file,
    name: name as string,
    base: base as string,
  })),
);

/** In threads and processes that are too small for the core. What they throw crosses to us as a message, and is recreated there. */
const APART = [
  "packages/adapter-file/src/walk-worker.ts",
  "packages/adapter-nfs/src/problem.ts",
  "packages/adapter-smb/src/native.ts",
];

test("every error class derives from PannierError", () => {
  expect(CLASSES.length).toBeGreaterThan(15);
  const native = /^(Error|\w*(Error|Exception))$/;
  const known = new Set(CLASSES.map(({ name }) => name));
  const escaped = CLASSES.filter(
    ({ name, base, file }) =>
      native.test(base) && !known.has(base) && name !== "PannierError" && !APART.includes(file),
  );
  expect(escaped).toEqual([]);
});

test.each(APART)("%s does without the core", (file) => {
  const text = FILES.find((one) => one.file === file)?.text ?? "";
  expect(text).toMatch(/class \w+ extends Error\b/);
  expect(text).not.toMatch(/^import (?!type).*@pannier\/core/m);
});
