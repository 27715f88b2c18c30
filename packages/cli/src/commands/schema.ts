/** `pannier schema`: the JSON Schema of the configuration file. */
import { loadConfigSchema } from "@pannier/daemon";
import type { Invocation } from "../invocation.ts";

export async function run({ print }: Invocation): Promise<number> {
  const { configJsonSchema } = await loadConfigSchema();
  await print(JSON.stringify(configJsonSchema(), undefined, 2));
  return 0;
}
