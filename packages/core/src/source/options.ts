/** Options of a source: declared as data, read from a URL's query or passed as an object, checked in one place. */
import { UsageError } from "./errors.ts";
import { nearest } from "./nearest.ts";

/** How one option looks to the user. */
export type OptionSpec =
  | {
      readonly type: "string";
      readonly description: string;
      readonly default?: string;
      readonly placeholder?: string;
    }
  | { readonly type: "boolean"; readonly description: string; readonly default?: boolean }
  | {
      readonly type: "integer";
      readonly description: string;
      readonly default?: number;
      readonly min?: number;
      readonly max?: number;
    }
  | {
      readonly type: "enum";
      readonly description: string;
      readonly values: readonly string[];
      readonly default?: string;
    };

export type OptionSpecs = Readonly<Record<string, OptionSpec>>;

type ValueOf<Spec extends OptionSpec> = Spec extends { type: "boolean" }
  ? boolean
  : Spec extends { type: "integer" }
    ? number
    : Spec extends { type: "enum"; values: readonly (infer Value)[] }
      ? Value
      : string;

/** The checked values: an option with a default is always there. */
export type OptionValues<Specs extends OptionSpecs> = {
  readonly [Name in keyof Specs]: Specs[Name] extends { default: unknown }
    ? ValueOf<Specs[Name]>
    : ValueOf<Specs[Name]> | undefined;
};

/**
 * Checks raw options against their specs and fills in defaults.
 *
 * @param of what the options belong to, for messages: `git`
 * @throws UsageError on an unknown name (naming the nearest known one) or a value of the wrong form
 */
export function parseOptions<Specs extends OptionSpecs>(
  specs: Specs,
  raw: Readonly<Record<string, unknown>>,
  of: string,
): OptionValues<Specs> {
  const values: Record<string, unknown> = {};
  for (const [name, spec] of Object.entries(specs)) values[name] = spec.default;
  for (const [name, value] of Object.entries(raw)) {
    const spec = Object.hasOwn(specs, name) ? specs[name] : undefined;
    if (spec === undefined) {
      const known = Object.keys(specs);
      const near = nearest(name, known);
      throw new UsageError(
        `unknown option "${name}" of a ${of} source`,
        near === undefined
          ? `its options are: ${known.join(", ") || "none"}`
          : `did you mean "${near}"?`,
      );
    }
    if (value !== undefined) values[name] = parseValue(name, spec, value, of);
  }
  return values as OptionValues<Specs>;
}

function parseValue(name: string, spec: OptionSpec, value: unknown, of: string): unknown {
  const wrong = (expected: string) =>
    new UsageError(
      `option "${name}" of a ${of} source must be ${expected}, not ${JSON.stringify(value)}`,
    );
  switch (spec.type) {
    case "string":
      if (typeof value !== "string") throw wrong("a string");
      return value;
    case "boolean":
      if (typeof value === "boolean") return value;
      // `?anonymous` alone arrives as an empty string.
      if (value === "" || value === "true" || value === "1") return true;
      if (value === "false" || value === "0") return false;
      throw wrong("true or false");
    case "integer": {
      const number = typeof value === "string" && /^\d{1,15}$/.test(value) ? Number(value) : value;
      if (typeof number !== "number" || !Number.isSafeInteger(number))
        throw wrong("a whole number");
      const { min = 0, max = Number.MAX_SAFE_INTEGER } = spec;
      if (number < min || number > max)
        throw wrong(spec.max === undefined ? `at least ${min}` : `from ${min} to ${max}`);
      return number;
    }
    case "enum":
      if (typeof value !== "string" || !spec.values.includes(value))
        throw wrong(`one of ${spec.values.join(", ")}`);
      return value;
  }
}
