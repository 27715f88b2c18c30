import { posix } from "node:path";
import * as fc from "fast-check";
import { describe, expect, test } from "vitest";
import { comparePaths, foldPath, parentOf, quotePath, unsafePath } from "./path.ts";

/** Any Unicode text, with the corners of UTF-16 more often than chance would have them. */
const text = fc.string({
  unit: fc.oneof(
    fc.constantFrom(
      "a",
      "/",
      "-",
      ".",
      "\u{d7ff}",
      "\u{e000}",
      "\u{ffff}",
      "\u{10000}",
      "\u{10ffff}",
    ),
    fc.string({ unit: "binary", minLength: 1, maxLength: 1 }),
  ),
  maxLength: 12,
});

describe("comparePaths", () => {
  test("orders as UTF-8 bytes do", () => {
    fc.assert(
      fc.property(text, text, text, (start, a, b) => {
        const [x, y] = [start + a, start + b];
        const expected = Buffer.compare(Buffer.from(x), Buffer.from(y));
        expect(Math.sign(comparePaths(x, y))).toBe(expected);
      }),
      { numRuns: 2000 },
    );
  });

  test("puts an astral character behind all of the basic plane, as JavaScript does not", () => {
    const paths = ["\u{10000}", "\u{ffff}"];
    expect(paths.toSorted()).toEqual(["\u{10000}", "\u{ffff}"]);
    expect(paths.toSorted(comparePaths)).toEqual(["\u{ffff}", "\u{10000}"]);
  });
});

describe("unsafePath", () => {
  const segment = fc.constantFrom("a", "b c", ".", "..", "", "...", "..a", "~", "\\", "-", " ");
  const path = fc.array(segment, { minLength: 1, maxLength: 6 }).map((parts) => parts.join("/"));

  test("refuses exactly what does not normalise to itself below the root", () => {
    fc.assert(
      fc.property(path, (candidate) => {
        const inside =
          candidate !== "" &&
          posix.normalize(candidate) === candidate &&
          !posix.isAbsolute(candidate) &&
          !candidate.endsWith("/") &&
          !/^\.\.?(\/|$)/.test(candidate);
        expect(unsafePath(candidate) === undefined).toBe(inside);
      }),
      { numRuns: 2000 },
    );
  });

  test("what it lets pass stays below any root", () => {
    fc.assert(
      fc.property(fc.oneof(path, text), (candidate) => {
        const safe = unsafePath(candidate) === undefined;
        expect(!safe || posix.join("/root", candidate).startsWith("/root/")).toBe(true);
        expect(!safe || !candidate.includes("\0")).toBe(true);
      }),
      { numRuns: 2000 },
    );
  });

  test.each([
    ["", "is empty"],
    ["a\0b", "holds a NUL"],
    ["/etc/passwd", "is absolute"],
    ["a/../../etc", 'holds a ".." segment'],
    ["./a", 'holds a "." segment'],
    ["a//b", "holds an empty segment"],
    ["a/", "holds an empty segment"],
    ["a/\ud800", "is not valid Unicode"],
    ["é".repeat(128), "holds a name longer than 255 bytes"],
    [Array(40).fill("é".repeat(50)).join("/"), "is longer than 3,800 bytes"],
  ])("%j %s", (candidate, problem) => {
    expect(unsafePath(candidate)).toBe(problem);
  });

  test.each([
    "a",
    ".git/config",
    "..a",
    "a..",
    "-rf",
    " ",
    "a\nb",
    "C:\\windows",
    "é".repeat(127) + "a",
    "\u{1f389}".repeat(63),
  ])("%j is safe", (candidate) => {
    expect(unsafePath(candidate)).toBeUndefined();
  });
});

test.each([
  ["README", "readme"],
  ["caf\u00e9", "cafe\u0301"],
  ["\u212b", "\u00e5"],
  ["İ", "i\u0307"],
])("foldPath makes one of %j and %j", (a, b) => {
  expect(foldPath(a)).toBe(foldPath(b));
});

test("foldPath leaves apart what differs", () => {
  expect(foldPath("a")).not.toBe(foldPath("á"));
});

test.each([
  ["a/b/c", "a/b"],
  ["a", ""],
])("parentOf(%j) is %j", (path, parent) => {
  expect(parentOf(path)).toBe(parent);
});

describe("quotePath", () => {
  test("lets nothing through that a terminal obeys", () => {
    fc.assert(
      fc.property(fc.string({ unit: "binary", maxLength: 400 }), (path) => {
        // Controls, line and paragraph separators, and marks of direction.
        expect(quotePath(path)).not.toMatch(/[\p{Cc}\p{Zl}\p{Zp}\p{Bidi_Control}]/u);
      }),
    );
    expect(quotePath("a\u001b[2J\u009b\u202eb")).toBe('"a\\u001b[2J\\u009b\\u202eb"');
  });

  test("cuts what is too long for a line", () => {
    expect(quotePath("x".repeat(1000))).toHaveLength(303);
  });
});
