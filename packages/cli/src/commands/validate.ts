/** `pannier validate`: everything that `run` would refuse of a configuration, at once. */
import { resolve } from "node:path";
import { checkConfig, ConfigError, type DaemonConfig } from "@pannier/daemon";
import { checkInit, configFile, readConfig } from "../configuration.ts";
import { count, shortPath } from "../format.ts";
import type { Invocation } from "../invocation.ts";

export async function run(invocation: Invocation): Promise<number> {
  const { args, settings, context, print, printJson } = invocation;
  const [named] = args;
  const file = named === undefined ? configFile(invocation) : resolve(context.cwd, named);
  const what = file === undefined ? "the environment" : shortPath(file, context.cwd);
  let config: DaemonConfig | undefined;
  let problems: readonly string[] = [];
  try {
    config = await readConfig(invocation, file);
    await checkConfig(config, checkInit(invocation, file));
  } catch (error) {
    if (!(error instanceof ConfigError)) throw error;
    ({ problems } = error);
  }
  if (settings.json === true) await printJson({ valid: problems.length === 0, problems });
  else if (problems.length > 0)
    for (const problem of problems) await print(`${what}: ${invocation.redact(problem)}`);
  else await print(`${what} is valid: ${count(config?.mounts.length ?? 0, "mount")}`);
  return problems.length === 0 ? 0 : 2;
}
