import { constants } from "node:os";
import { expect, test } from "vitest";
import {
  HookError,
  InternalError,
  MountSourceError,
  NoRoomError,
  RefusedError,
  TargetError,
} from "./errors.ts";
import { describeFailure, failureLine } from "./failure.ts";
import { SourceError, type SourceErrorCode, UsageError } from "./source/errors.ts";

const init = { hint: "do this" };
const source = (code: SourceErrorCode) => new SourceError(code, "no", init);
const system = (code: string) => Object.assign(new Error("no"), { code });
class Signal extends InternalError {}

test.each([
  [source("auth"), "auth", 3],
  [source("not-found"), "not-found", 4],
  [source("unavailable"), "unavailable", 5],
  [source("throttled"), "throttled", 5],
  [source("changed"), "changed", 5],
  [source("invalid"), "invalid", 6],
  [source("unsupported"), "unsupported", 2],
  [new MountSourceError(0, "https://h/", source("auth")), "auth", 3],
  [new UsageError("no", "do this"), "usage", 2],
  [new TargetError("no", init), "target", 2],
  [new TargetError("no", { ...init, permission: true }), "permission", 3],
  [new RefusedError("no", init), "refused", 6],
  [new NoRoomError("no", init), "no-room", 7],
  [new HookError("no", init), "hook", 8],
  [new Signal("no", init), "bug", 1],
] as const)("%s has a code, an exit code and its hint", (error, code, exitCode) => {
  expect([error.code, error.exitCode, error.hint]).toEqual([code, exitCode, "do this"]);
  const url = error instanceof MountSourceError ? "https://h/" : undefined;
  expect(describeFailure(error)).toEqual({
    code,
    exitCode,
    message: "no",
    hint: "do this",
    source: url,
  });
});

test.each([
  [new DOMException("no", "TimeoutError"), "timeout", 5],
  [new MountSourceError(0, "https://h/", new DOMException("no", "TimeoutError")), "timeout", 5],
  [system("EACCES"), "permission", 3],
  [system("EROFS"), "permission", 3],
  [system("ENOSPC"), "no-room", 7],
  [system("EDQUOT"), "no-room", 7],
  [
    Object.assign(system("Unknown system error -122"), { errno: -constants.errno.EDQUOT }),
    "no-room",
    7,
  ],
  [system("EBADF"), "bug", 1],
  [Object.assign(new Error("a program's"), { code: "auth", exitCode: 3 }), "bug", 1],
  [new TypeError("no"), "bug", 1],
  ["thrown text", "bug", 1],
] as const)("%s has a code and an exit code", (error, code, exitCode) => {
  expect(describeFailure(error)).toMatchObject({ code, exitCode });
});

test("settings are named as the library has them, or as the program's variables", () => {
  const error = new UsageError("credentials.passwordFile is empty", "set credentials.username");
  expect(describeFailure(error)).toMatchObject({
    message: "credentials.passwordFile is empty",
    hint: "set credentials.username",
  });
  expect(describeFailure(error, "variables")).toMatchObject({
    message: "PANNIER_PASSWORD_FILE is empty",
    hint: "set PANNIER_USERNAME",
  });
});

test("one line says what failed, on which source, why and what to do", () => {
  const cause = new SourceError("auth", "the server refused\nthe password.", {
    hint: "check PANNIER_PASSWORD",
  });
  const failure = describeFailure(new MountSourceError(0, "https://h/x", cause));
  expect(failureLine(failure, "sync")).toBe(
    "cannot sync https://h/x: the server refused the password. Check PANNIER_PASSWORD",
  );
  expect(failureLine(describeFailure(new Error("a\u001b[31mb\u0000")), "sync")).toBe(
    "a\ufffd[31mb\ufffd",
  );
});
