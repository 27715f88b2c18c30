/**
 * Node's own modules without an `import`, which looks at each of their exports and so loads what nobody asked for: of `node:http` all
 * of Node's own undici (40 of the 70 ms that it takes, Node 26), of `node:fs` its streams, of `node:crypto` all of WebCrypto. It also
 * makes a module of each that is linked to every file. What is asked for by name is read from the module instead, once.
 */
import { builtinModules } from "node:module";
import { basename, dirname, isAbsolute, join, relative } from "node:path";
import type { Plugin } from "esbuild";

const IMPORTED = "pannier-node-import";
const REQUIRED = "pannier-node-require";
const LATE = "pannier-late";

/** Whether a module of the compiler's is one of these, which are of no package. */
export function isNodeModule(name: string): boolean {
  return (
    name.startsWith(`${IMPORTED}:`) ||
    name.startsWith(`${REQUIRED}:`) ||
    name.startsWith(`${LATE}:`)
  );
}

export const nodeModules: Plugin = {
  name: "node-modules",
  setup({ onResolve, onLoad, initialOptions: { absWorkingDir = "/" } }) {
    onResolve({ filter: /^(?:node:)?[a-z0-9_/]+$/ }, ({ path, kind, importer }) => {
      const name = path.replace(/^node:/, "");
      if (!NAMES.has(name) && !NAMES.has(path)) return undefined;
      // One that is loaded when it is needed is better off with Node's own way than with a file more.
      if (kind === "dynamic-import") return { path: `node:${name}`, external: true };
      const namespace = kind === "import-statement" ? IMPORTED : REQUIRED;
      // One for each module that imports it, so that it comes into the same file: shared, they would be files of their own.
      // Named by its place below the working directory, wherever that is, since names are part of what files are named by.
      const suffix = `?${isAbsolute(importer) ? relative(absWorkingDir, importer) : importer}`;
      return { path: name, namespace, suffix, sideEffects: false };
    });
    onLoad({ filter: /^/, namespace: IMPORTED }, ({ path }) => {
      const names = Object.keys(process.getBuiltinModule(`node:${path}`) as object);
      const exported = names.filter((name) => name !== "default" && name !== "module.exports");
      return {
        contents: [
          `const m=${whole(path)};export default m;`,
          "const get=(name)=>m[name];",
          // Those that nobody asks for are left out, and what they load with them.
          ...exported.map((name, index) => `const v${index}=/* @__PURE__ */get("${name}");`),
          `export{${exported.map((name, index) => `v${index} as ${JSON.stringify(name)}`).join(",")}};`,
        ].join("\n"),
      };
    });
    onLoad({ filter: /^/, namespace: REQUIRED }, ({ path }) => ({
      contents: `module.exports=${whole(path)};`,
    }));
    // undici takes `node:http2` along for connections that speak it. Ours do not.
    onResolve({ filter: /\/client-h2\.js$/ }, ({ path, importer, namespace }) =>
      namespace === LATE || !importer.endsWith("/undici/lib/dispatcher/client.js")
        ? undefined
        : { path: relative(absWorkingDir, join(dirname(importer), path)), namespace: LATE },
    );
    onLoad({ filter: /^/, namespace: LATE }, ({ path }) => ({
      contents: `module.exports=(...given)=>require(${JSON.stringify(`./${basename(path)}`)})(...given);`,
      resolveDir: dirname(join(absWorkingDir, path)),
    }));
  },
};

/** SDKs take these along for requests that they never send. */
const LATE_MODULES: ReadonlySet<string> = new Set(["http", "http2", "https"]);

/** An expression for a module, which is loaded with its first use if that may never come. */
function whole(name: string): string {
  const module = `process.getBuiltinModule("node:${name}")`;
  if (!LATE_MODULES.has(name)) return `/* @__PURE__ */${module}`;
  // AWS's SDK takes the constants out at its start.
  return late(
    module,
    name === "http2" ? `trap==="get"&&k==="constants"?${late(`${module}.constants`)}:` : "",
  );
}

/** An object that does with each trap what the one does that the expression stands for. */
function late(object: string, get = ""): string {
  const trap = `{get:(_,trap)=>(_,k,...rest)=>${get}Reflect[trap](${object},k,...rest)}`;
  return `/* @__PURE__ */new Proxy({},/* @__PURE__ */new Proxy({},${trap}))`;
}

/** `node:sqlite` and others are only known by their whole name. */
const NAMES: ReadonlySet<string> = new Set(builtinModules);
