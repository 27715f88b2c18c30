/** The adapters that were chosen: where their code is, and what they say about themselves. */
import { dirname, extname, isAbsolute, join } from "node:path";
import { pathToFileURL } from "node:url";
import { type Adapter, UsageError } from "@pannier/core";
import { build } from "esbuild";
import { conditionsOf } from "./conditions.ts";
import { manifestOf } from "./packages.ts";
import { type Needs, readNeeds } from "./needs.ts";

export interface BundledAdapter extends Needs {
  readonly name: string;
  /** The package that it comes from, as it says. */
  readonly package: string;
  /** The module that exports it. */
  readonly entry: string;
  /** Under which name. */
  readonly exportName: string;
}

/** @throws UsageError */
export async function findAdapters(
  names: readonly string[],
  { cwd, program }: { readonly cwd: string; readonly program: string },
): Promise<readonly BundledAdapter[]> {
  if (names.length === 0) throw new UsageError("no adapter is chosen");
  const found: BundledAdapter[] = [];
  for (const name of new Set(names)) found.push(await findAdapter(name, cwd, program));
  const twice = found.find((one, index) => found.slice(0, index).some((o) => o.name === one.name));
  if (twice !== undefined)
    throw new UsageError(`two of the chosen adapters have the name "${twice.name}"`);
  return found;
}

async function findAdapter(name: string, cwd: string, program: string): Promise<BundledAdapter> {
  const isPath = name.startsWith(".") || isAbsolute(name);
  const entry =
    (await resolveModule(name, isPath ? cwd : program, program)) ??
    (await resolveModule(name, cwd, program));
  if (entry === undefined)
    throw new UsageError(
      isPath ? `there is no file "${name}"` : `there is no package "${name}"`,
      isPath
        ? "name the module that exports the adapter"
        : "install it, name one of ours as pannier adapters lists them, or give a path that starts with ./",
    );
  const exported = Object.entries(await load(name, entry));
  const [exportName, adapter] =
    exported
      .filter((pair): pair is [string, Adapter] => isAdapter(pair[1]))
      .toSorted(([a], [b]) => rank(a) - rank(b))[0] ?? [];
  if (exportName === undefined || adapter === undefined)
    throw new UsageError(
      `"${name}" is not an adapter`,
      "the module must export one as adapter, or as its default",
    );
  const manifest = await manifestOf(entry);
  return {
    name: adapter.name,
    package: adapter.package,
    entry,
    exportName,
    ...readNeeds(manifest, adapter),
  };
}

/** The modules that the engine starts as threads. */
export async function findEngineThreads(program: string): Promise<readonly string[]> {
  const entry = await resolveModule("@pannier/core", program, program);
  if (entry === undefined) throw new UsageError("the engine is not beside the program");
  const { pannier } = await manifestOf(entry);
  return threadsOf(entry, pannier?.["threads"] as readonly string[]);
}

/** The files of modules that lie beside the one that exports an adapter. */
export function threadsOf(entry: string, names: readonly string[]): readonly string[] {
  return names.map((name) => join(dirname(entry), `${name}${extname(entry)}`));
}

async function load(name: string, entry: string): Promise<object> {
  try {
    return (await import(pathToFileURL(entry).href)) as object;
  } catch (error) {
    const [message] = (error as Error).message.split("\n");
    throw new UsageError(`the adapter "${name}" cannot be loaded: ${message}`, undefined, {
      cause: error,
    });
  }
}

/** Ours have names of their own: `gitAdapter`. */
function rank(exportName: string): number {
  return exportName === "adapter" ? 0 : exportName === "default" ? 1 : 2;
}

function isAdapter(value: unknown): value is Adapter {
  const { name, schemes, open } = (value ?? {}) as Partial<Adapter>;
  return typeof name === "string" && Array.isArray(schemes) && typeof open === "function";
}

/** As the compiler will find it, which knows conditions and packages that are for `import` only. */
async function resolveModule(
  name: string,
  from: string,
  program: string,
): Promise<string | undefined> {
  let path: string | undefined;
  await build({
    stdin: { contents: "" },
    write: false,
    logLevel: "silent",
    platform: "node",
    conditions: conditionsOf(program),
    plugins: [
      {
        name: "resolve",
        setup({ onStart, resolve: find }) {
          onStart(async () => {
            const result = await find(name, { kind: "import-statement", resolveDir: from });
            if (result.errors.length === 0 && !result.external) ({ path } = result);
          });
        },
      },
    ],
  });
  return path;
}
