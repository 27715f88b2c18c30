/** What the modules of lanes may import of the engine besides types: what the engine's own half of a lane has loaded anyway, or is as small. No SQLite. */
export { SourceError, UsageError } from "./source/errors.ts";
export { readCredentialFile, readSecret } from "./source/secrets.ts";
