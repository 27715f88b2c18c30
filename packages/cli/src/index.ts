export { resolveSources } from "./adapters.ts";
export { parseDuration } from "./units.ts";
