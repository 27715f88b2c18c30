/** The Compose file of the static site, as far as that can be told without running it. */
import { existsSync } from "node:fs";
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { expect, test } from "vitest";
import { parse } from "yaml";
import { BUILT_IN } from "../../packages/cli/src/adapters.ts";

const EXAMPLE = fileURLToPath(new URL("../../examples/static-site", import.meta.url));

interface Build {
  readonly context: string;
  readonly dockerfile: string;
  readonly args: { readonly ADAPTERS: string };
}

interface Service {
  readonly command?: unknown;
  readonly healthcheck?: { readonly test: unknown };
}

test("the image has every adapter, unless fewer are chosen", async () => {
  const { services } = parse(await readFile(join(EXAMPLE, "compose.yaml"), "utf8")) as {
    services: { pannier: { build: Build } };
  };
  const { context, dockerfile, args } = services.pannier.build;
  expect(existsSync(join(EXAMPLE, context, dockerfile))).toBe(true);
  const chosen = /^\$\{ADAPTERS:-(.*)\}$/.exec(args.ADAPTERS)?.[1]?.split(" ");
  expect(chosen?.toSorted()).toEqual(BUILT_IN.map(({ name }) => name).toSorted());
});

test("every argument of a command is a string", async () => {
  const { services } = parse(await readFile(join(EXAMPLE, "compose.yaml"), "utf8")) as {
    services: Record<string, Service>;
  };
  // An unquoted ": " makes a mapping of an item.
  const commands = Object.values(services)
    .flatMap(({ command, healthcheck }) => [command, healthcheck?.test])
    .filter((one) => one !== undefined);
  expect(commands).toHaveLength(2);
  for (const command of commands) {
    expect(command).toEqual((command as unknown[]).map(() => expect.any(String)));
  }
});
