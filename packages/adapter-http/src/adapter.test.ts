import { resolveSource } from "@pannier/core";
import { UsageError } from "@pannier/core/adapter";
import { openSource } from "@pannier/adapter-kit";
import { expect, test } from "vitest";
import { httpAdapter } from "./index.ts";

test.each([
  ["https://h/x.json?strip=1", "strip"],
  ["https://h/x.json?path=a", "path"],
  ["https://h/x.tar?path=../a", "path"],
  ["https://h/x.tar?manifest=none", "manifest"],
  ["https://h/d/?manifest=a/b", "manifest"],
  ["https://h/d/?unpack=yes", "directory"],
  ["https://h/d/?strip=1", "directory"],
  ["https://h/x.tar?checksum=sha256:123", "64"],
  ["https://h/x.tar?checksum=", "checksum"],
  ["https://h/x.tar?unpack=maybe", "unpack"],
  ["https://h/x.tar?stripp=1", "strip"],
  ["https://h/%FF", "UTF-8"],
  ["https://h/a%2Fb", "slash"],
])("refuses %s before anything is asked", async (url, word) => {
  const work = (async () => openSource(resolveSource(url, [httpAdapter])))();
  const error: unknown = await work.catch((reason: unknown) => reason);
  expect(error).toBeInstanceOf(UsageError);
  const { message, hint } = error as UsageError;
  expect(`${message} ${hint}`).toContain(word);
});

test("leaves parameters of the server's own alone", () => {
  const spec = resolveSource("https://h/x.tar?X-Amz-Credential=a&strip=2", [httpAdapter]);
  expect(spec.options).toMatchObject({ strip: 2, unpack: "auto" });
});
