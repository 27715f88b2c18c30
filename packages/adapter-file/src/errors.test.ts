import { SourceError } from "@pannier/core/adapter";
import { expect, test } from "vitest";
import { translate } from "./errors.ts";

test.each([
  ["ESTALE", "unavailable", true],
  ["EIO", "unavailable", true],
  ["ENOTCONN", "unavailable", true],
  ["ETIMEDOUT", "unavailable", true],
  ["EHOSTDOWN", "unavailable", true],
  ["EMFILE", "unavailable", true],
  ["ENOENT", "not-found", false],
  ["ENOTDIR", "not-found", false],
  ["EACCES", "auth", false],
  ["EPERM", "auth", false],
  ["EISDIR", "invalid", false],
])("%s is %s", (code, meaning, transient) => {
  const error = Object.assign(new Error("as the kernel says it"), { code });
  const translated = translate(error, "d/a");
  expect(translated).toMatchObject({ code: meaning, transient, cause: error });
  expect((translated as SourceError).message).toContain('"d/a"');
});

test("what is no error of the file system is left as it is", () => {
  const own = new SourceError("changed", "it changed");
  for (const error of [own, new Error("enough"), "a reason"])
    expect(translate(error, "a")).toBe(error);
});
