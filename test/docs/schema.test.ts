/** What editors are told by `pannier schema`, on the configurations that we show. */
import { globSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { Ajv2020, type ValidateFunction } from "ajv/dist/2020.js";
import { beforeAll, expect, test } from "vitest";
import { parse } from "yaml";
import { runPannierOk } from "../support/pannier.ts";
import { blocks, page, ROOT } from "./pages.ts";

const SHOWN = [
  ...globSync("examples/**/pannier.yaml", { cwd: ROOT }).map(
    (name) => [name, readFileSync(join(ROOT, name), "utf8")] as const,
  ),
  ...blocks(page("docs/configuration.md").text, "yaml")
    .filter((text) => text.startsWith("mounts:"))
    .map((text) => ["docs/configuration.md", text] as const),
  ...blocks(page("docs/cookbook.md").text, "yaml recipe").map(
    (text, index) => [`docs/cookbook.md, ${index + 1}`, text] as const,
  ),
];

let validate: ValidateFunction;

beforeAll(async () => {
  const { stdout } = await runPannierOk(["schema"]);
  validate = new Ajv2020({ allowUnionTypes: true }).compile(JSON.parse(stdout));
});

test("there are examples, and one on the page", () => {
  const names = SHOWN.map(([name]) => name).filter((name) => !name.startsWith("docs/cookbook.md"));
  expect(names.toSorted()).toEqual([
    "docs/configuration.md",
    "examples/layers/pannier.yaml",
    "examples/prometheus-rules/pannier.yaml",
    "examples/relay/follower/pannier.yaml",
    "examples/relay/pannier.yaml",
    "examples/static-site/kubernetes/base/pannier.yaml",
  ]);
});

test.each(SHOWN)("%s fits the schema", (_, text) => {
  validate(parse(text));
  expect(validate.errors).toBeNull();
});

test.each([
  ["a key that there is not", { mounts: [{ target: "/x", sources: ["/y"], perod: "30s" }] }],
  ["a mount without sources", { mounts: [{ target: "/x" }] }],
  ["no mounts", { http: { port: 8080 } }],
])("%s does not", (_, config) => {
  expect(validate(config)).toBe(false);
});
