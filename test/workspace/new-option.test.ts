/** An option that is added to the engine's table is a flag, a variable, a key of the configuration file and a line of the manual, by that alone. */
import { type MountOption, MOUNT_OPTIONS, UsageError } from "@pannier/core";
import { EventEmitter } from "node:events";
import { beforeAll, expect, test } from "vitest";

const SHADE = {
  placeholder: "PERCENT",
  parse: Number,
  check(value, name) {
    if (!(Number(value) <= 100)) throw new UsageError(`${name} must be at most 100`);
  },
  description: "how dark it is",
  default: "40",
} satisfies MountOption;

beforeAll(() => {
  // Before anything that is made from the table is loaded.
  Object.assign(MOUNT_OPTIONS, { deepShade: SHADE });
});

async function commandLine(argv: readonly string[], env: Record<string, string> = {}) {
  const { parseCommandLine } = await import("../../packages/cli/src/program.ts");
  let said = "";
  const output = Object.assign(new EventEmitter(), {
    write: (text: string) => Boolean((said += text)),
  });
  const line = parseCommandLine(argv, env, "1", output);
  return { line, said };
}

test("a flag with its help, on each command that plans a tree", async () => {
  for (const command of ["sync", "watch", "run", "plan", "verify"]) {
    const { said } = await commandLine(["help", command]);
    expect(said).toMatch(/--deep-shade <PERCENT> +how dark it is \(default: 40\)/);
  }
  const { line } = await commandLine(["sync", "a", "b", "--deep-shade", "7"]);
  expect(line?.settings).toMatchObject({ deepShade: 7 });
  await expect(commandLine(["sync", "a", "b", "--deep-shade", "700"])).rejects.toThrow(
    "--deep-shade: it must be at most 100",
  );
});

test("a variable", async () => {
  const { line } = await commandLine(["sync", "a", "b"], { PANNIER_DEEP_SHADE: "8" });
  expect(line?.settings).toMatchObject({ deepShade: 8 });
});

test("what the engine is given", async () => {
  const { mountSettings } = await import("../../packages/cli/src/mount.ts");
  expect(mountSettings({ deepShade: 9 } as never)).toMatchObject({ deepShade: 9 });
});

const mount = (shade: number) => `mounts: [{ target: /t, sources: [/s], deepShade: ${shade} }]`;

test("a key of the configuration file, in its schema too", async () => {
  const { loadConfigReader, loadConfigSchema } = await import("@pannier/daemon");
  const { parseConfig } = await loadConfigReader();
  const { mounts } = parseConfig(mount(10), "/", { env: {} });
  expect(mounts[0]?.options).toMatchObject({ deepShade: 10 });
  expect(() => parseConfig(mount(700), "/", { env: {} })).toThrow("deepShade: it must be at most");
  const { configJsonSchema } = await loadConfigSchema();
  expect(JSON.stringify(configJsonSchema())).toContain(
    '"deepShade":{"description":"How dark it is. Default: 40."',
  );
});

test("a check of what a program gives", async () => {
  const { checkOptions } = await import("@pannier/core");
  const options = { sources: [{}], target: "/t", deepShade: 700 };
  expect(() => checkOptions(options as never)).toThrow("deepShade must be at most 100");
});

test("a line of both tables of the manual", async () => {
  const { withTables } = await import("../docs/option-tables.ts");
  const empty = (name: string) =>
    withTables(`<!-- table: ${name}, written by npm run docs:tables -->\n<!-- end of table -->`);
  expect(empty("flags")).toContain("| `--deep-shade` | `PERCENT` | how dark it is | `40` |");
  expect(empty("mount")).toContain("| `deepShade` | `PERCENT` | how dark it is | `40` |");
});
