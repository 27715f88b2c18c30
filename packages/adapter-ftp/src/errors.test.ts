import { FTPError } from "basic-ftp";
import { expect, test } from "vitest";
import { refusalOf } from "./errors.ts";

test("a refusal is known by its code, also where a bundle has renamed its class", () => {
  class a extends FTPError {}
  for (const Refused of [FTPError, a])
    expect(refusalOf(new Refused({ code: 550, message: "550 no" }))).toMatchObject({ code: 550 });
});

test("what is not the server's word is no refusal", () => {
  const reset = Object.assign(new Error("reset"), { code: "ECONNRESET" });
  for (const error of [reset, new Error("x"), AbortSignal.abort().reason, undefined, { code: 550 }])
    expect(refusalOf(error)).toBeUndefined();
});
