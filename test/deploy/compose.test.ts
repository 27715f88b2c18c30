/** The Compose file of the static site, as far as that can be told without running it. */
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { expect, test } from "vitest";
import { parse } from "yaml";

const EXAMPLE = fileURLToPath(new URL("../../examples/static-site", import.meta.url));

interface Service {
  readonly command?: unknown;
  readonly healthcheck?: { readonly test: unknown };
}

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
