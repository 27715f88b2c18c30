export { bundle, type Bundle, type BundleRequest } from "./bundle.ts";
export type { BundledAdapter } from "./adapters.ts";
