import { describe, expect, test } from "vitest";
import { isAbove, namesBelow, namesOf } from "./names.ts";

describe("the names in a path", () => {
  test.each([
    ["/", []],
    ["/a/b/", ["a", "b"]],
    ["//a///b", ["a", "b"]],
    ["/R%26D/R&D/%52&D", ["R&D", "R&D", "R&D"]],
    ["/%c3%bc/%C3%BC/ü", ["ü", "ü", "ü"]],
    ["/100%/100%25/%zz/a+b", ["100%", "100%", "%zz", "a+b"]],
    ["/%2541", ["%41"]],
  ])("of %s", (path, names) => {
    expect(namesOf(path)).toEqual(names);
  });

  test.each(["/%ff", "/a/%2e%2e/b", "/.", "/a%2fb"])("of %s are none", (path) => {
    expect(() => namesOf(path)).toThrow(expect.objectContaining({ code: "invalid" }));
  });

  test("below another path, however both are spelled", () => {
    expect(namesBelow("/R&D/x/y%20z", ["R&D"])).toEqual(["x", "y z"]);
    expect(namesBelow("/R%26D", ["R&D"])).toEqual([]);
    expect(namesBelow("/R", ["R&D"])).toBeUndefined();
    expect(namesBelow("/r&d/X", ["R&D"])).toBeUndefined();
    expect(namesBelow("/r&d/X", ["R&D"], true)).toEqual(["X"]);
    // Of no interest, because it is elsewhere.
    expect(namesBelow("/%ff/%2f", ["R&D"])).toBeUndefined();
    expect(() => namesBelow("/R&D/%ff", ["R&D"])).toThrow("not UTF-8");
  });

  test("that cannot be read are told as far as they can", () => {
    expect(() => namesBelow("/R&D/caf%e9/%c3%bc€%ff", ["R&D"])).toThrow(
      expect.objectContaining({ names: ["caf\ufffd", "ü€\ufffd"] }),
    );
    // What leads out does so however it is written.
    expect(() => namesBelow("/R&D/caf%e9/%2e%2e", ["R&D"])).toThrow("not a file name");
  });

  test("above another path", () => {
    expect(isAbove("/", ["a", "b"])).toBe(true);
    expect(isAbove("/a/", ["a", "b"])).toBe(true);
    expect(isAbove("/a/b", ["a", "b"])).toBe(true);
    expect(isAbove("/a/b/c", ["a", "b"])).toBe(false);
    expect(isAbove("/b", ["a", "b"])).toBe(false);
  });
});
