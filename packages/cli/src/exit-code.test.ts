import {
  HookError,
  MountSourceError,
  NoRoomError,
  RefusedError,
  SourceError,
  type SourceErrorCode,
  TargetError,
  UsageError,
} from "@pannier/core";
import { constants } from "node:os";
import { expect, test } from "vitest";
import { failureLine, toFailure } from "./exit-code.ts";

const source = (code: SourceErrorCode) => new SourceError(code, "no");
const system = (code: string) => Object.assign(new Error("no"), { code });

test.each([
  [source("auth"), 3],
  [source("not-found"), 4],
  [source("unavailable"), 5],
  [source("throttled"), 5],
  [source("changed"), 5],
  [source("invalid"), 6],
  [source("unsupported"), 2],
  [new MountSourceError(0, "https://h/", source("auth")), 3],
  [new UsageError("no"), 2],
  [new TargetError("no"), 2],
  [new TargetError("no", { permission: true }), 3],
  [new RefusedError("no"), 6],
  [new NoRoomError("no"), 7],
  [new HookError("no"), 8],
  [Object.assign(new Error("no"), { name: "PostPublishError" }), 9],
  [new DOMException("no", "TimeoutError"), 5],
  [system("EACCES"), 3],
  [system("EROFS"), 3],
  [system("ENOSPC"), 7],
  [system("EDQUOT"), 7],
  [Object.assign(system("Unknown system error -122"), { errno: -constants.errno.EDQUOT }), 7],
  [system("EBADF"), 1],
  [new TypeError("no"), 1],
  ["thrown text", 1],
])("%s", (error, code) => {
  expect(toFailure(error).exitCode).toBe(code);
});

test("an error of another copy of core is understood too", () => {
  const error = Object.assign(new Error("no"), { name: "SourceError", code: "auth" });
  expect(toFailure(error)).toMatchObject({ code: "auth", exitCode: 3 });
});

test("one line says what failed, on which source, why and what to do", () => {
  const cause = new SourceError("auth", "the server refused\nthe password.", {
    hint: "check PANNIER_PASSWORD",
  });
  const failure = toFailure(new MountSourceError(0, "https://h/x", cause));
  expect(failureLine(failure, "sync")).toBe(
    "cannot sync https://h/x: the server refused the password. Check PANNIER_PASSWORD",
  );
  expect(failureLine(toFailure(new Error("a\u001b[31mb\u0000")), "sync")).toBe(
    "a\ufffd[31mb\ufffd",
  );
});
