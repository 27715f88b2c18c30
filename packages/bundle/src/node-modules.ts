/**
 * Node's own modules without an `import`, which looks at each of their exports and so loads what nobody asked for: of `node:http` all
 * of Node's own undici (40 of the 70 ms that it takes, Node 26), of `node:fs` its streams, of `node:crypto` all of WebCrypto. It also
 * makes a module of each that is linked to every file. What is asked for by name is read from the module instead, once. The names
 * are those of the Node that bundles; the default export is the module, as the Node has it that runs the program.
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
      // One that is loaded when it is needed is better off with Node's own way than with a file more; `require.resolve` loads none.
      if (kind !== "import-statement" && kind !== "require-call") return undefined;
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
          moduleAsM(path),
          "export default m;",
          "const get=(name)=>m[name];",
          // Those that nobody asks for are left out, and what they load with them.
          ...exported.map((name, index) => `const v${index}=/* @__PURE__ */get("${name}");`),
          `export{${exported.map((name, index) => `v${index} as ${JSON.stringify(name)}`).join(",")}};`,
        ].join("\n"),
      };
    });
    onLoad({ filter: /^/, namespace: REQUIRED }, ({ path }) => ({
      contents: `${moduleAsM(path)}module.exports=m;`,
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

/** Statements that name a module `m`. */
function moduleAsM(name: string): string {
  return name === "http2"
    ? HTTP2
    : `const m=/* @__PURE__ */process.getBuiltinModule("node:${name}");`;
}

/**
 * Loaded with its first use, since AWS's SDK takes it along for requests that are never sent, and its constants at the start.
 * It takes 10 to 15 ms (Node 26); `http` and `https` take 2 ms more where `tls` is loaded, and undici needs the first at its start.
 */
const HTTP2 = `
const http2=()=>process.getBuiltinModule("node:http2");
const late=(whole,own)=>new Proxy({},{
get:(_,key)=>own?.[key]??whole()[key],
set:(_,key,value)=>Reflect.set(whole(),key,value),
has:(_,key)=>key in whole(),
ownKeys:()=>Reflect.ownKeys(whole()),
deleteProperty:(_,key)=>Reflect.deleteProperty(whole(),key),
defineProperty:(_,key,property)=>Reflect.defineProperty(whole(),key,property),
// The constants cannot be configured. A proxy may say that only of what its own target has as well.
getOwnPropertyDescriptor(_,key){
const property=Reflect.getOwnPropertyDescriptor(whole(),key);
return property&&{...property,configurable:true};
},
});
const m=/* @__PURE__ */late(http2,{constants:/* @__PURE__ */late(()=>http2().constants)});
`;

/** `node:sqlite` and others are only known by their whole name. */
const NAMES: ReadonlySet<string> = new Set(builtinModules);
