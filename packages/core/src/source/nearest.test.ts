import * as fc from "fast-check";
import { expect, test } from "vitest";
import { nearest } from "./nearest.ts";

const OPTIONS = ["ref", "path", "depth", "submodules", "engine"];

test.each([
  ["reff", "ref"],
  ["branch", undefined],
  ["Path", "path"],
  ["dpeth", undefined],
  ["deph", "depth"],
  ["submodule", "submodules"],
  ["sub-modules", "submodules"],
  ["", undefined],
  ["x", undefined],
])("%j most likely means %j", (name, expected) => {
  expect(nearest(name, OPTIONS)).toBe(expected);
});

test("the closest of several wins, the first of equals", () => {
  expect(nearest("patch", ["path", "patches", "match"])).toBe("path");
});

test("a known name means itself, and one letter too many still does", () => {
  const name = fc.string({ unit: fc.constantFrom("a", "b", "c"), minLength: 3, maxLength: 8 });
  fc.assert(
    fc.property(name, fc.nat(8), (known, at) => {
      expect(nearest(known, ["zzzzzzzz", known])).toBe(known);
      expect(nearest(`${known.slice(0, at)}x${known.slice(at)}`, ["zzzzzzzz", known])).toBe(known);
    }),
  );
});
