/** From what goes wrong inside an archive or a listing to {@link SourceError}. */
import { NoRoomError, SourceError } from "@pannier/core/adapter";

/**
 * Passes on what a reader of an archive gives, and translates how it fails. Errors that are ours already, and the
 * caller's reason to stop, pass as they are.
 */
export async function* guarded<T>(
  reader: AsyncIterable<T>,
  signal: AbortSignal,
): AsyncGenerator<T> {
  try {
    yield* reader;
  } catch (error) {
    if (signal.aborted) throw signal.reason;
    throw archiveError(error);
  }
}

/** What goes wrong inside an archive, as a {@link SourceError}; errors that are ours already pass. */
export function archiveError(error: unknown): unknown {
  if (error instanceof SourceError || error instanceof NoRoomError) return error;
  const reason = error instanceof Error ? error.message : String(error);
  return new SourceError("invalid", `the archive cannot be unpacked: ${reason}`, { cause: error });
}

/** A limit that was exceeded. */
export function limitError(
  what: string,
  hint = "raise the limit if you trust this source",
): SourceError {
  return new SourceError("invalid", what, { hint });
}
