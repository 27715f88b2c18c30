/** The chart says the same as what it is made of: its README, its schema, its values, the alerts, the version. */
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { expect, test } from "vitest";
import { parse } from "yaml";
import { readManifest } from "../../scripts/repository.ts";
import { blocks, page, ROOT, section, tableRows } from "./pages.ts";

interface Schema {
  readonly description?: string;
  readonly properties?: Readonly<Record<string, Schema>>;
}

const CHART = "deploy/helm/pannier";
const read = (name: string) => readFileSync(join(ROOT, CHART, name), "utf8");
const values = parse(read("values.yaml")) as Record<string, unknown>;

/** Path → description, of what has one. */
function described({ properties = {}, description }: Schema, path: string[] = []): string[][] {
  if (description !== undefined) return [[path.join("."), description]];
  return Object.entries(properties).flatMap(([name, each]) => described(each, [...path, name]));
}

function valueAt(path: string): unknown {
  return path
    .split(".")
    .reduce<unknown>((at, name) => (at as Record<string, unknown> | undefined)?.[name], values);
}

test("the README has each value, with its default and meaning", () => {
  const told = tableRows(section(page(`${CHART}/README.md`).text, "## Values"));
  const cells = told.map(([path = "", fallback = "", meaning = ""]) => {
    const isGiven = fallback !== "";
    return [path, isGiven ? (parse(fallback) as unknown) : undefined, meaning];
  });
  const expected = described(JSON.parse(read("values.schema.json")) as Schema).map(
    ([path = "", meaning]) => [path, valueAt(path), meaning],
  );
  expect(cells).toEqual(expected);
});

test("its alerts are those of the manual", () => {
  const [rules = ""] = blocks(section(page("docs/operations.md").text, "### Alerts"), "yaml");
  expect(parse(read("alerts.yaml"))).toEqual(parse(rules));
});

test("its version is that of the packages", () => {
  const { version, appVersion } = parse(read("Chart.yaml")) as Record<string, string>;
  const { version: expected } = readManifest("packages/core");
  expect([version, appVersion]).toEqual([expected, expected]);
});
