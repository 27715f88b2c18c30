import { existsSync, mkdirSync, mkdtempSync, readdirSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect, onTestFinished, test } from "vitest";
import { toTargetError } from "./target-error.ts";

const saidBySqlite = (errcode: number) =>
  Object.assign(new Error("disk I/O error"), { code: "ERR_SQLITE_ERROR", errcode });

const open = () => (existsSync("/proc/self/fd") ? readdirSync("/proc/self/fd").length : 0);

const failed = (code: string, syscall?: string) =>
  Object.assign(new Error(code), { code, syscall });

function makeTarget(): string {
  const target = mkdtempSync(join(tmpdir(), "pannier-error-"));
  onTestFinished(() => rmSync(target, { recursive: true }));
  mkdirSync(join(target, ".pannier"));
  return target;
}

test("what SQLite could not do is told of the target, and looking for why leaves nothing", () => {
  const target = makeTarget();
  const before = open();
  // SQLITE_IOERR
  expect(toTargetError(saidBySqlite(10), target)).toMatchObject({
    name: "TargetError",
    message: `the state in the target ${target} cannot be read or written: disk I/O error`,
  });
  expect(open()).toBe(before);
  expect(readdirSync(join(target, ".pannier"))).toEqual([]);
});

test("a fault in what SQLite was asked is none of the target's", () => {
  const error = saidBySqlite(1);
  expect(toTargetError(error, makeTarget())).toBe(error);
});

test("no errors but those of the file system are", () => {
  for (const error of [failed("ENOENT"), failed("ECONNRESET", "read"), new Error("another")])
    expect(toTargetError(error, "/t")).toBe(error);
  expect(toTargetError(failed("EIO", "read"), "/t")).toMatchObject({
    message: "the target /t cannot be worked on: read failed (EIO)",
    permission: false,
  });
  expect(toTargetError(failed("EROFS", "open"), "/t")).toMatchObject({ permission: true });
});
