/** What requests are signed with, and lasts only for a while. */
import { untilAborted } from "@pannier/core/adapter";

/** Part of its life after which another one is asked for. */
const FRESH = 0.9;

export interface Lease<Signature> {
  readonly signature: Signature;
  /** When it ends, in milliseconds since the epoch. One that has ended is used once. */
  readonly ends: number;
}

export interface Renewed<Signature> {
  /** Asked for anew when nine tenths of its life are over, once for all that wait for it. */
  current(signal: AbortSignal): Promise<Signature>;
  /** The server took this one. */
  accepted(signature: Signature): void;
  /**
   * The server refused this one: it is not used again.
   *
   * @returns whether another one may be accepted, since this one was good before (revoked, or ended early)
   */
  refused(signature: Signature): boolean;
}

/** @param ask gets another one; what it throws is thrown to all that wait */
export function renewed<Signature extends object>(
  ask: () => Promise<Lease<Signature>>,
): Renewed<Signature> {
  let kept: { readonly signature: Signature; readonly until: number } | undefined;
  let asking: Promise<typeof kept> | undefined;
  const good = new WeakSet<Signature>();

  const renew = async () => {
    const { signature, ends } = await ask();
    const now = Date.now();
    return { signature, until: now + (ends - now) * FRESH };
  };

  return {
    async current(signal) {
      signal.throwIfAborted();
      if (kept === undefined || kept.until <= Date.now()) {
        // Nobody's abort takes it from the others.
        asking ??= renew().finally(() => (asking = undefined));
        kept = await untilAborted(asking, signal);
      }
      return (kept as NonNullable<typeof kept>).signature;
    },
    accepted: (signature) => void good.add(signature),
    refused(signature) {
      if (kept?.signature === signature) kept = undefined;
      return good.has(signature);
    },
  };
}
