import type { FetchRequest, FetchResult, Ref } from "./protocol.ts";

/** The repository at the other end. */
export interface Remote {
  /** The refs whose names start with one of the prefixes; a server without protocol 2 lists more. */
  refs(prefixes: readonly string[], signal: AbortSignal): Promise<readonly Ref[]>;
  /** Starts a fetch. The pack must be consumed, or given up by `return()`. */
  fetch(request: FetchRequest, signal: AbortSignal): Promise<FetchResult>;
  close(): Promise<void>;
}
