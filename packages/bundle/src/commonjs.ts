/**
 * `await import("package")` of a CommonJS package, as Node has it.
 *
 * Node finds the names that such a module exports and offers each; the compiler, when it splits, offers only the default.
 * So a module that names them stands between the two.
 */
import { readFile } from "node:fs/promises";
import { extname, join, relative } from "node:path";
import { pathToFileURL } from "node:url";
import type { OnResolveArgs, Plugin } from "esbuild";
import { manifestOf } from "./packages.ts";

const NAMESPACE = "pannier-commonjs";

export const commonJsNames: Plugin = {
  name: "commonjs-names",
  setup({ onResolve, onLoad, resolve, initialOptions: { absWorkingDir = "/" } }) {
    onResolve(
      { filter: /^[^.]/ },
      async ({ path, kind, importer, resolveDir, pluginData }: OnResolveArgs) => {
        if (kind !== "dynamic-import" || pluginData === NAMESPACE) return undefined;
        const found = await resolve(path, { kind, importer, resolveDir, pluginData: NAMESPACE });
        if (found.errors.length > 0 || found.external || !(await isCommonJs(found.path)))
          return found;
        // Named by its place below the working directory, wherever that is, since the name goes into that of a file.
        return { path: relative(absWorkingDir, found.path), namespace: NAMESPACE };
      },
    );
    onLoad({ filter: /^/, namespace: NAMESPACE }, async (module) => {
      const path = join(absWorkingDir, module.path);
      const found = Object.keys((await import(pathToFileURL(path).href)) as object);
      const names = found.filter((name) => name !== "default" && name !== "module.exports");
      const exported = names.map((name, index) => `v${index} as ${JSON.stringify(name)}`);
      return {
        contents: [
          `const m=require(${JSON.stringify(path)});`,
          ...names.map((name, index) => `const v${index}=m[${JSON.stringify(name)}];`),
          `export{${["m as default", ...exported].join(",")}};`,
        ].join("\n"),
        resolveDir: absWorkingDir,
      };
    });
  },
};

async function isCommonJs(path: string): Promise<boolean> {
  const extension = extname(path);
  if (extension !== ".js") return extension === ".cjs";
  if ((await manifestOf(path)).type === "module") return false;
  // What a package has for bundlers (its field "module") is none, whatever the package says that its files are.
  return !/^(?:import|export)\b/m.test(await readFile(path, "utf8"));
}
