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
  /** Asked for again when nine tenths of its life are over, once for all that wait for it. */
  current(signal: AbortSignal): Promise<Signature>;
  /** The server took this one. */
  accepted(signature: Signature): void;
  /**
   * The server refused this one: it is not used again, unless there is no other.
   *
   * @param ended it says that its time is over
   * @returns whether another one may be accepted, since this one was good before (revoked, or ended early), or has ended
   */
  refused(signature: Signature, signal: AbortSignal, ended?: boolean): Promise<boolean>;
}

/**
 * @param ask gets another one; what it throws is thrown to all that wait. Told whether one was refused that may be remembered
 * @param same where asking again may give what was refused: whether two are one. Then it is asked at once whether there is another
 */
export function renewed<Signature extends object>(
  ask: (refused: boolean) => Promise<Lease<Signature>>,
  same?: (a: Signature, b: Signature) => boolean,
): Renewed<Signature> {
  let kept: { readonly signature: Signature; readonly until: number } | undefined;
  let asking: Promise<NonNullable<typeof kept>> | undefined;
  const good = new WeakSet<Signature>();

  const renew = async (refused: boolean) => {
    const { signature, ends } = await ask(refused);
    const now = Date.now();
    // Whether one was good is known of the one object.
    const old = kept?.signature;
    const isSame = old !== undefined && same?.(old, signature) === true;
    return { signature: isSame ? old : signature, until: now + (ends - now) * FRESH };
  };

  async function current(signal: AbortSignal): Promise<Signature> {
    signal.throwIfAborted();
    if (kept === undefined || kept.until <= Date.now()) {
      // Nobody's abort takes it from the others.
      asking ??= renew(false).finally(() => (asking = undefined));
      kept = await untilAborted(asking, signal);
    }
    return kept.signature;
  }

  return {
    current,
    accepted: (signature) => void good.add(signature),
    async refused(signature, signal, ended = false) {
      const worthwhile = ended || good.has(signature);
      if (same === undefined) {
        if (kept?.signature === signature) kept = undefined;
        return worthwhile;
      }
      if (!worthwhile) return false;
      // Another request may have been told before.
      if ((await current(signal)) !== signature) return true;
      kept = await untilAborted(renew(true), signal);
      return kept.signature !== signature;
    },
  };
}
