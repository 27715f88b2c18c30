/** Parts of the program that other programs around the engine share. */
export { resolveSources } from "./choose-adapter.ts";
export { credentialsFromEnvironment } from "./environment.ts";
