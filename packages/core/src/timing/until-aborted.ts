/**
 * Waits for work that does not heed a signal, or is done for others as well: rejects with the signal's reason as soon as that
 * is aborted. What becomes of the work then is of no interest here.
 *
 * @param onAborted called once, where it was given up
 */
export async function untilAborted<Result>(
  work: Promise<Result>,
  signal: AbortSignal,
  onAborted: () => void = () => {},
): Promise<Result> {
  const { promise: aborted, reject } = Promise.withResolvers<never>();
  const onAbort = () => {
    reject(signal.reason);
    onAborted();
  };
  if (signal.aborted) onAbort();
  else signal.addEventListener("abort", onAbort, { once: true });
  try {
    return await Promise.race([aborted, work]);
  } finally {
    signal.removeEventListener("abort", onAbort);
  }
}
