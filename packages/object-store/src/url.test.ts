import { expect, test } from "vitest";
import { encode, encodePath, pathBelow } from "./url.ts";

const KEYS = ["a/b c", "a/./b", "a/../b", "a.", "..", "a./b", ".a/.b", "", "é%/ü", "a!'()*", "~_-"];

test.each(KEYS)("has the path that the URL class has of %j", (key) => {
  for (const base of ["https://h/", "http://h:8080/bucket/", "http://[::1]/b%20c/"]) {
    for (const rest of [encodePath(key), encodeURIComponent(key)])
      expect(pathBelow(base, rest)).toBe(new URL(base + rest).pathname);
  }
});

test("escapes a path segment by segment", () => {
  for (const key of KEYS) expect(encodePath(key)).toBe(key.split("/").map(encode).join("/"));
  expect(encodePath("a b/c\n")).toBe("a%20b/c%0A");
});
