/** Liveness and readiness. */
import { parseDuration, UsageError } from "@pannier/core";
import type { Mount } from "../mount.ts";
import { isFresh, isStuck } from "../mount-state.ts";
import { isShown } from "../shown.ts";
import { plain, type Reply } from "./reply.ts";

/**
 * Follows work that was *completed*: a mount whose attempt does not end by its deadline, or whose next one does not begin, makes it 503. A source
 * that fails does not: restarting would not help.
 *
 * @param lingering mounts of an earlier configuration that do not end
 */
export function livez(mounts: readonly Mount[], lingering: readonly Mount[]): Reply {
  const stuck = mounts.filter(({ state, config }) => isStuck(state, config.options.timeout));
  const all = [...lingering, ...stuck];
  return all.length === 0 ? plain(200, "ok") : plain(503, `no attempt ends: ${names(all)}`);
}

/** Whether every mount shows something published, on its volume as it is now; with `maxAge`, also whether that is fresh. */
export async function readyz(mounts: readonly Mount[], query: URLSearchParams): Promise<Reply> {
  const shown = await Promise.all(mounts.map(isReady));
  const empty = mounts.filter((_, index) => shown[index] !== true);
  if (empty.length > 0) {
    for (const mount of empty) bringBack(mount);
    const isNew = empty.some(({ state }) => state.history.length === 0);
    return plain(
      503,
      `${isNew ? "nothing published yet" : "what was published is gone"}: ${names(empty)}`,
    );
  }
  const text = query.get("maxAge");
  if (text === null) return plain(200, "ok");
  let maxAge: number;
  try {
    maxAge = parseDuration(text);
  } catch (error) {
    if (!(error instanceof UsageError)) throw error;
    return plain(400, "maxAge is not a duration such as 5m");
  }
  const stale = mounts.filter(({ state }) => !isFresh(state, maxAge));
  return stale.length === 0 ? plain(200, "ok") : plain(503, `not fresh: ${names(stale)}`);
}

async function isReady({ config: { options }, state }: Mount): Promise<boolean> {
  // A mirror's files do not tell by themselves that they are whole.
  if (options.publish === "mirror" && state.history.length === 0) return false;
  return isShown(options);
}

/** Milliseconds: a next look that is further away is not waited for. */
const SOON_MS = 60_000;

/** Asks for what is gone: the next look at the sources may be far, or never, where they cannot change. Not for more than one at a time. */
function bringBack(mount: Mount): void {
  const { phase, due, history } = mount.state;
  const isFar = phase === "waiting" && due !== undefined && due - performance.now() > SOON_MS;
  if (isFar && history.length > 0) mount.trigger();
}

function names(mounts: readonly Mount[]): string {
  const shown = mounts.slice(0, 10).map(({ config }) => config.name);
  return mounts.length > 10 ? `${shown.join(", ")}, …` : shown.join(", ");
}
