/** Whether anything happened since a listing. */
import type { ProbeResult } from "@pannier/core/adapter";
import type { HttpClient } from "@pannier/http-client";
import { type Api, isOlder, type Scope } from "./api.ts";
import { GoneError, isGone } from "./errors.ts";
import type { Journal } from "./journal.ts";
import type { Listed } from "./list.ts";

/**
 * Milliseconds after which a listing is due whatever the watches say. A cluster that was restored from a backup counts
 * resourceVersions from an earlier one on, and tells nothing of what is "since" a later one.
 */
const LIST_AGAIN = 60 * 60 * 1000;

interface Probing {
  readonly api: Api;
  readonly client: HttpClient;
  readonly scopes: readonly Scope[];
  readonly listed: Listed;
  readonly journals: ReadonlyMap<Scope, Journal>;
}

/** Of the watch that asks: the shortest there is. What happened before comes at once. */
const SECONDS = 1;

/** @returns `undefined` where a listing has to tell */
export async function probe(
  probing: Probing,
  known: string | undefined,
  signal: AbortSignal,
): Promise<ProbeResult | undefined> {
  signal.throwIfAborted();
  const { api, scopes, listed } = probing;
  listed.asked = true;
  if (performance.now() - listed.at > LIST_AGAIN) return undefined;
  const versions = parseToken(known, scopes);
  const ask = (scope: Scope, index: number) =>
    versions === undefined
      ? api.now(scope, signal)
      : changedSince(probing, scope, versions[index] as string, signal);
  try {
    return { token: tokenOf(scopes, await Promise.all(scopes.map(ask))) };
  } catch (error) {
    // What happened since is forgotten.
    if (isGone(error)) return undefined;
    throw error;
  }
}

/**
 * What the long watch told needs no question. Otherwise asks by a short watch: it costs the server nothing where nothing
 * happened, however many objects there are, and it does not depend on the long watch, which may be dead. It takes a second
 * where nothing happened.
 *
 * @returns `since` where nothing happened; otherwise the resourceVersion of what did
 * @throws GoneError where the server cannot tell
 */
async function changedSince(
  { api, client, listed, journals }: Probing,
  scope: Scope,
  since: string,
  signal: AbortSignal,
): Promise<string> {
  const journal = journals.get(scope);
  if (journal?.last !== undefined && isOlder(since, journal.last)) return journal.last;
  // Not for what the server has forgotten by now.
  const isListed = listed.versions.get(scope) === since;
  const era = isListed ? listed.eras.get(scope) : undefined;
  const from = journal?.quietSince(since, era) ?? since;
  const how = { client, seconds: SECONDS, operation: "probe", content: false };
  for await (const { type, resourceVersion } of await api.watch(scope, from, how, signal)) {
    // A cluster that was restored from a backup counts from zero.
    if (isOlder(resourceVersion, from)) {
      throw new GoneError("unavailable", "the API server counts from an earlier state");
    }
    if (type !== "bookmark") return resourceVersion;
  }
  return since;
}

/** One resourceVersion for each scope, in their order: `monitoring=1234 web=1234`. */
export function tokenOf(scopes: readonly Scope[], versions: readonly string[]): string {
  return scopes.map(({ namespace = "*" }, index) => `${namespace}=${versions[index]}`).join(" ");
}

/** @returns `undefined` where it is none, or one of other namespaces */
export function parseToken(
  token: string | undefined,
  scopes: readonly Scope[],
): readonly string[] | undefined {
  const versions = token?.split(" ").map((part) => part.slice(part.indexOf("=") + 1)) ?? [];
  const isOurs =
    versions.every((one) => /^\d{1,20}$/.test(one)) && tokenOf(scopes, versions) === token;
  return isOurs ? versions : undefined;
}
