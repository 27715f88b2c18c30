/** `pannier adapters`: what is installed, and the options of each. */
import type { Adapter, OptionSpec } from "@pannier/core";
import { loadInstalled, loadNamed } from "../choose-adapter.ts";
import type { Invocation } from "../invocation.ts";

export async function run({ settings, context, print, printJson }: Invocation): Promise<number> {
  const named =
    settings.adapter === undefined
      ? undefined
      : (await loadNamed(settings.adapter, context.cwd)).adapter;
  const installed = await loadInstalled();
  const adapters =
    named === undefined || installed.includes(named) ? installed : [...installed, named];
  if (settings.json === true) {
    await printJson({ adapters: adapters.map(toRecord) });
    return 0;
  }
  for (const adapter of adapters) {
    await print(`${adapter.name}  (${adapter.package})  ${adapter.description}`);
    await print(`  ${adapter.schemes.map((scheme) => `${scheme}://`).join("  ")}`);
    for (const line of optionLines(adapter)) await print(`    ${line}`);
    await print("");
  }
  return 0;
}

function toRecord({ name, package: from, description, schemes, options }: Adapter): unknown {
  return { name, package: from, description, schemes, options };
}

function optionLines({ options }: Adapter): string[] {
  const rows = Object.entries(options).map(
    ([name, spec]) => [`${name}=${valueOf(spec)}`, describe(spec)] as const,
  );
  const width = Math.max(0, ...rows.map(([left]) => left.length));
  return rows.map(([left, right]) => `${left.padEnd(width)}  ${right}`);
}

function valueOf(spec: OptionSpec): string {
  switch (spec.type) {
    case "string":
      return spec.placeholder ?? "TEXT";
    case "boolean":
      return "true|false";
    case "integer":
      return "N";
    case "enum":
      return spec.values.join("|");
  }
}

function describe(spec: OptionSpec): string {
  return spec.default === undefined
    ? spec.description
    : `${spec.description} (default: ${spec.default})`;
}
