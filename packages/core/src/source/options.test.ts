import { describe, expect, test } from "vitest";
import { UsageError } from "./errors.ts";
import { type OptionSpecs, parseOptions } from "./options.ts";

const SPECS = {
  ref: { type: "string", description: "what to take" },
  anonymous: { type: "boolean", description: "no credentials", default: false },
  depth: { type: "integer", description: "commits", min: 1, max: 100 },
  strip: { type: "integer", description: "directories to leave out", default: 0 },
  engine: { type: "enum", description: "who does it", values: ["auto", "js"], default: "auto" },
} as const satisfies OptionSpecs;

test("fills in defaults", () => {
  expect(parseOptions(SPECS, {}, "git")).toEqual({
    ref: undefined,
    anonymous: false,
    depth: undefined,
    strip: 0,
    engine: "auto",
  });
});

test.each<[Record<string, unknown>, Record<string, unknown>]>([
  [{ ref: "main" }, { ref: "main" }],
  [{ ref: "" }, { ref: "" }],
  [{ anonymous: "" }, { anonymous: true }],
  [{ anonymous: "true" }, { anonymous: true }],
  [{ anonymous: "1" }, { anonymous: true }],
  [{ anonymous: "0" }, { anonymous: false }],
  [{ anonymous: true }, { anonymous: true }],
  [{ depth: "7" }, { depth: 7 }],
  [{ depth: 100 }, { depth: 100 }],
  [{ strip: "0" }, { strip: 0 }],
  [{ engine: "js" }, { engine: "js" }],
  [{ engine: undefined }, { engine: "auto" }],
])("%j is read as %j", (raw, expected) => {
  expect(parseOptions(SPECS, raw, "git")).toMatchObject(expected);
});

test.each<[Record<string, unknown>, string]>([
  [{ ref: 1 }, 'option "ref" of a git source must be a string, not 1'],
  [{ anonymous: "maybe" }, 'option "anonymous" of a git source must be true or false, not "maybe"'],
  [{ depth: "0" }, 'option "depth" of a git source must be from 1 to 100, not "0"'],
  [{ depth: 101 }, 'option "depth" of a git source must be from 1 to 100, not 101'],
  [{ depth: "-1" }, 'option "depth" of a git source must be a whole number, not "-1"'],
  [{ depth: "1.5" }, 'option "depth" of a git source must be a whole number, not "1.5"'],
  [{ depth: "1e2" }, 'option "depth" of a git source must be a whole number, not "1e2"'],
  [{ depth: "" }, 'option "depth" of a git source must be a whole number, not ""'],
  [{ strip: -1 }, 'option "strip" of a git source must be at least 0, not -1'],
  [{ engine: "JS" }, 'option "engine" of a git source must be one of auto, js, not "JS"'],
])("%j is refused", (raw, message) => {
  expect(() => parseOptions(SPECS, raw, "git")).toThrow(new UsageError(message));
});

function hintFor(specs: OptionSpecs, name: string): string | undefined {
  try {
    parseOptions(specs, { [name]: "x" }, "git");
    return undefined;
  } catch (error) {
    return (error as UsageError).hint;
  }
}

describe("an unknown option", () => {
  test("is refused with the nearest known name", () => {
    expect(() => parseOptions(SPECS, { Ref: "x" }, "git")).toThrow(
      'unknown option "Ref" of a git source',
    );
    expect(hintFor(SPECS, "Ref")).toBe('did you mean "ref"?');
    expect(hintFor(SPECS, "deph")).toBe('did you mean "depth"?');
  });

  test("near none is refused with all names", () => {
    expect(hintFor(SPECS, "region")).toBe("its options are: ref, anonymous, depth, strip, engine");
    expect(hintFor({}, "region")).toBe("its options are: none");
  });

  test.each(["__proto__", "constructor", "toString", "hasOwnProperty"])("%s is one", (name) => {
    const raw = Object.fromEntries([[name, "x"]]);
    expect(() => parseOptions(SPECS, raw, "git")).toThrow("unknown option");
  });
});
