/** The time that is allowed for a sync. */
import { SourceError } from "../source/errors.ts";
import { startTimer } from "../timing/sleep.ts";

/**
 * A signal that is aborted by the caller's or when the time is over; `end` stops the clock.
 *
 * Not AbortSignal.any: a signal that lives as long as the process keeps what was derived from it (nodejs/node#64476). For the same reason it is never the
 * caller's own: sources derive signals from it.
 */
export function withTimeout(
  signal: AbortSignal | undefined,
  timeout: number | undefined,
): { readonly signal: AbortSignal; end(): void } {
  const controller = new AbortController();
  const hint = "nothing was published; allow more with --timeout";
  const expire = () =>
    controller.abort(
      new SourceError("unavailable", `the sync took longer than the ${timeout} ms allowed`, {
        hint,
      }),
    );
  const onAbort = () => controller.abort(signal?.reason);
  const timer = timeout === undefined ? undefined : startTimer(expire, timeout);
  signal?.addEventListener("abort", onAbort, { once: true });
  if (signal?.aborted === true) onAbort();
  return {
    signal: controller.signal,
    end() {
      clearTimeout(timer);
      signal?.removeEventListener("abort", onAbort);
    },
  };
}
