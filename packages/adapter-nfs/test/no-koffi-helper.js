/** The helper, on a machine without koffi. */
import { registerHooks } from "node:module";

registerHooks({
  resolve(specifier, context, next) {
    if (specifier === "koffi") throw new Error("Cannot find package 'koffi'");
    return next(specifier, context);
  },
});
await import("../src/nfs-helper.ts");
