/** Makes one program of the command line, the engine and the adapters. */
import { basename, dirname, join, resolve } from "node:path";
import { UsageError } from "@pannier/core";
import { build, type BuildFailure, type BuildOptions, type Metafile, type Plugin } from "esbuild";
import { type BundledAdapter, findEngineThreads, threadsOf } from "./adapters.ts";
import { commonJsNames } from "./commonjs.ts";
import { conditionsOf, extensionOf } from "./conditions.ts";
import { isNodeModule, nodeModules } from "./node-modules.ts";
import type { Module } from "./packages.ts";

export interface Compiled {
  readonly files: readonly { readonly name: string; readonly content: Uint8Array }[];
  /** What they are made of. */
  readonly modules: readonly Module[];
}

/** What is not part of any bundle: the compiler itself. */
const NEVER = ["@pannier/bundle"];

/** @throws UsageError where a module cannot be found or read */
export async function compile(
  adapters: readonly BundledAdapter[],
  program: string,
): Promise<Compiled> {
  const extension = extensionOf(program);
  // Files are named by their content and by their place below this directory.
  const base = commonDirectory([program, ...adapters.map(({ entry }) => entry)]);
  const threads = [
    ...(await findEngineThreads(program)),
    ...adapters.flatMap(({ entry, threads: names }) => threadsOf(entry, names)),
  ];
  try {
    const options = {
      absWorkingDir: base,
      outdir: join(base, "dist"),
      // All in one directory: a thread's module is looked for beside the module that starts it.
      entryNames: "[name]",
      chunkNames: "[name]-[hash]",
      write: false,
      metafile: true,
      bundle: true,
      format: "esm",
      platform: "node",
      target: "node22.13",
      conditions: conditionsOf(program),
      mainFields: ["module", "main"],
      external: [...NEVER, ...adapters.flatMap(({ native }) => native)],
      minify: true,
      legalComments: "none",
      logLevel: "silent",
      plugins: [
        register(join(program, `adapters${extension}`), adapters),
        leaveOutBinaries,
        nodeModules,
        commonJsNames,
      ],
    } satisfies BuildOptions;
    const built = await Promise.all([
      // An adapter is loaded when it is used.
      build({ ...options, entryPoints: [join(program, `bin${extension}`)], splitting: true }),
      // A thread has all of its code in one file. With the program's in common, both would be in many small ones.
      build({ ...options, entryPoints: threads }),
    ]);
    return {
      files: built
        .flatMap(({ outputFiles }) => outputFiles)
        .map(({ path, contents, text }) => ({
          name: basename(path),
          content: USES_COMMONJS.test(text) ? Buffer.concat([COMMONJS, contents]) : contents,
        })),
      modules: modulesOf(
        built.map(({ metafile }) => metafile),
        base,
      ),
    };
  } catch (error) {
    const [first] = (error as BuildFailure).errors ?? [];
    if (first === undefined) throw error;
    throw new UsageError(
      `the program cannot be put together: ${first.text}${first.location ? ` (${first.location.file})` : ""}`,
      undefined,
      { cause: error },
    );
  }
}

/** Those of which something is in the program: not all that is looked at is used. */
function modulesOf(built: readonly Metafile[], base: string): Module[] {
  const inputs: Metafile["inputs"] = Object.assign({}, ...built.map((each) => each.inputs));
  const pathOf = (name: string) => resolve(base, name.slice(name.indexOf(":") + 1));
  const outputs = built.flatMap((each) => Object.values(each.outputs));
  const used = outputs.flatMap((output) =>
    Object.entries(output.inputs)
      .filter(([name, { bytesInOutput }]) => bytesInOutput > 0 && !isNodeModule(name))
      .map(([name]) => name),
  );
  return [...new Set(used)].map((name) => ({
    path: pathOf(name),
    imports: (inputs[name]?.imports ?? [])
      .filter(({ external, path }) => external !== true && !isNodeModule(path))
      .map(({ path }) => pathOf(path)),
  }));
}

/** CommonJS modules ask for Node's own by `require`, and for their place: an ES module has neither. */
const COMMONJS = Buffer.from(
  `const require=process.getBuiltinModule("node:module").createRequire(import.meta.url),__filename=import.meta.filename,__dirname=import.meta.dirname;\n`,
);
const USES_COMMONJS = /\brequire\b|\b__(?:file|dir)name\b/;

/** Puts the list of the chosen adapters in the place of the one of all that come with the program. */
function register(path: string, adapters: readonly BundledAdapter[]): Plugin {
  const entries = adapters.map(({ name, package: from, schemes, entry, exportName }) => {
    const data = JSON.stringify({ name, package: from, schemes }).slice(1, -1);
    return `{${data},load:async()=>(await import(${JSON.stringify(entry)}))[${JSON.stringify(exportName)}]}`;
  });
  // Pushing takes what following registries takes.
  const pushes = adapters.some(({ package: from }) => from === "@pannier/adapter-oci");
  const artifact = pushes ? '()=>import("@pannier/artifact")' : "undefined";
  const contents = `export const BUILT_IN=[${entries.join(",")}];export const loadArtifact=${artifact};`;
  return {
    name: "register",
    setup({ onLoad }) {
      onLoad({ filter: /adapters\.[jt]s$/ }, (module) =>
        module.path === path ? { contents, loader: "js", resolveDir: dirname(path) } : undefined,
      );
    },
  };
}

/**
 * Compiled add-ons that a package merely prefers to its own JavaScript: whether they are there depends on the machine that the
 * packages were installed on. A package that cannot do without is declared as native.
 */
const leaveOutBinaries: Plugin = {
  name: "leave-out-binaries",
  setup({ onResolve }) {
    onResolve({ filter: /\.node$/ }, ({ path }) => ({ path, external: true }));
  },
};

function commonDirectory(paths: readonly string[]): string {
  const [first = [], ...others] = paths.map((path) => dirname(path).split("/"));
  const shared = first.findIndex((part, index) => others.some((other) => other[index] !== part));
  return (shared === -1 ? first : first.slice(0, shared)).join("/") || "/";
}
