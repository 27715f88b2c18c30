/** Layers that are fetched at once. */
const AT_ONCE = 6;

/** Works on some items at a time. The first failure ends the others, and all have ended before it throws. */
export async function forEach<Item>(
  items: readonly Item[],
  work: (item: Item, signal: AbortSignal) => Promise<void>,
  signal: AbortSignal,
): Promise<void> {
  const failed = new AbortController();
  const inner = AbortSignal.any([signal, failed.signal]);
  const queue = items.values();
  const worker = async () => {
    for (const item of queue) {
      inner.throwIfAborted();
      await work(item, inner);
    }
  };
  const workers = Array.from({ length: Math.min(AT_ONCE, items.length) }, async () =>
    worker().catch((error: unknown) => {
      failed.abort(error);
      throw error;
    }),
  );
  // The caller removes what they write to.
  await Promise.allSettled(workers);
  await Promise.all(workers);
}
