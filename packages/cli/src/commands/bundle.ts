/** `pannier bundle`: a program with just the chosen adapters. */
import { resolve } from "node:path";
import { UsageError } from "@pannier/core";
import { BUILT_IN } from "../adapters.ts";
import { count, formatBytes } from "../format.ts";
import type { Invocation } from "../invocation.ts";

export async function run({ settings, context, print, printJson }: Invocation): Promise<number> {
  if (settings.adapters === undefined)
    throw new UsageError("no adapter is chosen", "name them with --adapters, as in git,s3");
  if (settings.out === undefined)
    throw new UsageError("there is no directory to write to", "name one with --out");
  const { bundle } = await loadBundler();
  const result = await bundle({
    adapters: settings.adapters.map(
      (name) => BUILT_IN.find((registered) => registered.name === name)?.package ?? name,
    ),
    out: resolve(context.cwd, settings.out),
    cwd: context.cwd,
    program: resolve(import.meta.dirname, ".."),
  });
  if (settings.json === true) await printJson(result);
  else {
    const names = result.adapters.map(({ name }) => name).join(", ");
    await print(
      `bundled ${names} into ${result.out}: ${formatBytes(result.bytes)} in ${count(result.files, "file")}, from ${count(result.components, "package")}`,
    );
    if (result.debian.length > 0) await print(`needs, on Debian: ${result.debian.join(", ")}`);
    if (result.alpine.length > 0) await print(`needs, on Alpine: ${result.alpine.join(" ")}`);
  }
  return 0;
}

/** Not part of a bundle: it holds a compiler. */
async function loadBundler(): Promise<typeof import("@pannier/bundle")> {
  try {
    return await import("@pannier/bundle");
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== "ERR_MODULE_NOT_FOUND") throw error;
    throw new UsageError(
      "this program is a bundle itself, and cannot make one",
      "use the pannier of the package @pannier/cli",
      { cause: error },
    );
  }
}
