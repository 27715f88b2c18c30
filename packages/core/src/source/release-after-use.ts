/** Chunks whose memory does not wait for the collector. */

/**
 * The same stream, but the memory of a chunk is freed when the next one is asked for. For a {@link Body} of what comes from a
 * socket, chunk by chunk, each in memory of its own: left to itself, the collector runs through everything there is for each
 * 64 MiB of them, which is a fifth of the processor time of a large download. What shares its memory is left alone.
 *
 * The memory may be another's at once: whoever still writes a chunk to a file while asking for the next writes what is not theirs.
 */
export function releaseAfterUse(stream: AsyncIterable<Uint8Array>): AsyncIterable<Uint8Array> {
  return {
    [Symbol.asyncIterator]() {
      const iterator = stream[Symbol.asyncIterator]();
      let last: Uint8Array | undefined;
      return {
        async next() {
          if (last !== undefined) free(last);
          last = undefined;
          const result = await iterator.next();
          last = result.value as Uint8Array | undefined;
          return result;
        },
        async return() {
          await iterator.return?.();
          return { done: true, value: undefined };
        },
      };
    },
  };
}

function free({ byteLength, buffer }: Uint8Array): void {
  // Empty memory may be anybody's constant.
  if (byteLength > 0 && byteLength === buffer.byteLength && buffer instanceof ArrayBuffer)
    buffer.transfer(0);
}
