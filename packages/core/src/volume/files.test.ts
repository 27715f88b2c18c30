import { mkdtempSync, rmSync, statSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, expect, test } from "vitest";
import { makeDirectories, removeFile } from "./files.ts";

const work = mkdtempSync(join(tmpdir(), "pannier-test-"));
afterAll(() => rmSync(work, { recursive: true }));

test("directories are made with those above them, and what is there stays", () => {
  const path = join(work, "a/b/c");
  makeDirectories(path, 0o700);
  expect(statSync(path).mode & 0o777).toBe(0o700);
  makeDirectories(path);
  expect(statSync(path).mode & 0o777).toBe(0o700);
  symlinkSync("a", join(work, "link"));
  makeDirectories(join(work, "link/b/d"));
  expect(statSync(join(work, "a/b/d")).isDirectory()).toBe(true);
});

test("a file in the way is told as such", () => {
  writeFileSync(join(work, "file"), "");
  expect(() => makeDirectories(join(work, "file"))).toThrow("EEXIST");
  expect(() => makeDirectories(join(work, "file/below/it"))).toThrow(/EEXIST|ENOTDIR/);
});

// `recursive` of `mkdirSync` says ENOENT of these.
test("what the system said is what is thrown", () => {
  expect(() => makeDirectories("/proc/no/such")).toThrow("ENOENT");
  expect(() => makeDirectories(join(work, "x".repeat(300), "y"))).toThrow("ENAMETOOLONG");
});

test("a file that is gone is removed already; a directory is none", () => {
  writeFileSync(join(work, "gone"), "");
  removeFile(join(work, "gone"));
  removeFile(join(work, "gone"));
  expect(() => removeFile(join(work, "a"))).toThrow(/EISDIR|EPERM/);
});
