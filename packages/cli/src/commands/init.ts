/** `pannier init`: a configuration to start from, and its schema for editors. */
import { writeFileSync } from "node:fs";
import { dirname, join, resolve } from "node:path";
import { describeSource, type SourceSpec, UsageError } from "@pannier/core";
import { loadConfigSchema } from "@pannier/daemon";
import { resolveSources } from "../choose-adapter.ts";
import { STANDARD_FILE } from "../configuration.ts";
import { shortPath } from "../format.ts";
import type { Invocation } from "../invocation.ts";
import { starterConfig } from "../starter.ts";

const EXAMPLE = "git+https://git.example.com/web/site.git?ref=main";
const SCHEMA = "pannier.schema.json";

export async function run({ args, settings, context, print }: Invocation): Promise<number> {
  const [url = EXAMPLE] = args;
  const [spec] = await resolveSources([url], { adapter: settings.adapter, cwd: context.cwd });
  refuseSecrets(spec as SourceSpec);
  const file = resolve(context.cwd, settings.config ?? STANDARD_FILE);
  const { configJsonSchema } = await loadConfigSchema();
  write(file, starterConfig(url, mountName(url), SCHEMA), "wx");
  await print(`wrote ${shortPath(file, context.cwd)}`);
  const schema = join(dirname(file), SCHEMA);
  // Nobody edits it, and another version of the program has another one.
  write(schema, `${JSON.stringify(configJsonSchema(), undefined, 2)}\n`, "w");
  await print(`wrote ${shortPath(schema, context.cwd)}`);
  return 0;
}

/** The file may end in a repository. @throws UsageError */
function refuseSecrets(spec: SourceSpec): void {
  const { username, password, scheme } = spec.location;
  const isSecret = username !== undefined && !scheme.endsWith("ssh") && scheme !== "sftp";
  if (!isSecret && password === undefined && !describeSource(spec).includes("=***")) return;
  throw new UsageError(
    "the URL holds a user, a password or a signature, which the file would show to its readers",
    "leave it out, and name a file that holds it below credentials",
  );
}

/** `site` of `…/web/site.git?ref=main`: the last part of the path, without its extensions. */
function mountName(url: string): string {
  const [path = ""] = url.split("?");
  const last = /([^/]+)\/*$/.exec(path.replace(/^[^:]*:\/\//, ""))?.[1] ?? "";
  const name = last.replace(/(\.[A-Za-z][A-Za-z0-9]*)+$/, "").replace(/[^A-Za-z0-9-]+/g, "-");
  return /^[A-Za-z0-9]/.test(name) ? name.slice(0, 63) : "content";
}

/** @param flag `wx`: not over a file that is there. @throws UsageError */
function write(path: string, text: string, flag: "w" | "wx"): void {
  try {
    writeFileSync(path, text, { flag });
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    throw code === "EEXIST"
      ? new UsageError(`${path} exists already`, "name another file with --config, or remove it")
      : new UsageError(`${path} cannot be written (${code})`, undefined, { cause: error });
  }
}
