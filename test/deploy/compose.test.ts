/** The Compose files, as far as can be told without running them. */
import { existsSync } from "node:fs";
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { expect, test } from "vitest";
import { parse } from "yaml";
import { BUILT_IN } from "../../packages/cli/src/adapters.ts";

const EXAMPLES = fileURLToPath(new URL("../../examples", import.meta.url));
const EXAMPLE = join(EXAMPLES, "static-site");

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

test.each([
  ["static-site", 2],
  ["relay", 2],
])("every argument of a command of %s is a string", async (example, count) => {
  const { services } = parse(await readFile(join(EXAMPLES, example, "compose.yaml"), "utf8")) as {
    services: Record<string, Service>;
  };
  // An unquoted ": " makes a mapping of an item.
  const commands = Object.values(services)
    .flatMap(({ command, healthcheck }) => [command, healthcheck?.test])
    .filter((one) => one !== undefined);
  expect(commands).toHaveLength(count);
  for (const command of commands) {
    expect(command).toEqual((command as unknown[]).map(() => expect.any(String)));
  }
});

test("a relay and a follower have the adapters and the files that they name", async () => {
  const { services } = parse(await readFile(join(EXAMPLES, "relay/compose.yaml"), "utf8")) as {
    services: Record<string, { build?: Build; volumes: string[] }>;
  };
  for (const name of ["relay", "follower"]) {
    const { build, volumes } = services[name] ?? {};
    expect(existsSync(join(EXAMPLES, "relay", build?.context ?? "", build?.dockerfile ?? ""))).toBe(
      true,
    );
    const names = BUILT_IN.map((adapter) => adapter.name);
    expect(names).toEqual(expect.arrayContaining(build?.args.ADAPTERS.split(" ") ?? []));
    const file = volumes?.find((volume) => volume.startsWith("./"))?.split(":")[0] ?? "";
    expect(existsSync(join(EXAMPLES, "relay", file)), file).toBe(true);
  }
});
