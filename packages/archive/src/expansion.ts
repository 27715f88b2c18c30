/** Archives that grow to many times their size. */
import { SourceError } from "@pannier/core/adapter";

/** Archives may grow by this much whatever their size: the factor is for larger ones. */
const FREE_EXPANSION = 10 * 1024 * 1024;

/** An archive grew to more than it may. */
export class ExpansionError extends SourceError {
  constructor(what: string) {
    super("invalid", what, { hint: "raise the limit if you trust this source" });
  }
}

/**
 * Compares what comes out of an archive with what went in so far: claims of the server do not count.
 *
 * @param what how messages name the archive
 * @param factor how many times its size it may grow to, beyond the first 10 MiB
 */
export function createExpansionGuard(what: string, factor: number) {
  let received = 0;
  let produced = 0;
  const grew = (bytes: number) => {
    produced += bytes;
    if (produced > FREE_EXPANSION && produced > received * factor) {
      throw new ExpansionError(`${what} grows to more than ${factor} times its size`);
    }
  };
  return {
    grew,
    async *archived(bytes: AsyncIterable<Uint8Array>) {
      for await (const chunk of bytes) {
        received += chunk.byteLength;
        yield chunk;
      }
    },
    async *unpacked(bytes: AsyncIterable<Uint8Array>) {
      for await (const chunk of bytes) {
        grew(chunk.byteLength);
        yield chunk;
      }
    },
  };
}
