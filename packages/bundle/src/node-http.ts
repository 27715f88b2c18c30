/**
 * Node's `http` and `https` without an `import`, which looks at each of their exports, and so loads all of Node's own undici: 40 of the
 * 70 ms that it takes (Node 26). Azure's SDK begins with it.
 */
import type { Plugin } from "esbuild";

const NAMESPACE = "pannier-node-http";

/** Whether a module of the compiler's is one of these, which are of no package. */
export function isNodeHttp(name: string): boolean {
  return name.startsWith(`${NAMESPACE}:`);
}

export const nodeHttp: Plugin = {
  name: "node-http",
  setup({ onResolve, onLoad }) {
    onResolve({ filter: /^(?:node:)?https?$/ }, ({ path }) => ({
      path: path.replace("node:", ""),
      namespace: NAMESPACE,
      sideEffects: false,
    }));
    onLoad({ filter: /^/, namespace: NAMESPACE }, ({ path }) => ({
      contents: `module.exports=process.getBuiltinModule("node:${path}");`,
    }));
  },
};
