/** Asks a server for its releases, and chooses one. */
import { createHash } from "node:crypto";
import { SourceError, UsageError } from "@pannier/core/adapter";
import { type HttpClient, type HttpResponse, readJson } from "@pannier/http-client";
import { refusal } from "./errors.ts";
import type { Forge, Release } from "./forge.ts";
import type { ReleaseSettings } from "./options.ts";

/** A page has fifty releases, of which each asset has a kilobyte or two. */
const LONGEST_ANSWER = { size: 32 << 20, values: 300_000 };
const MOST_PAGES = 200;

interface Answer {
  readonly etag: string | undefined;
  readonly releases: readonly Release[];
  readonly isLast: boolean;
}

export interface ReleasesInit {
  readonly forge: Forge;
  readonly client: HttpClient;
  readonly settings: Pick<ReleaseSettings, "tag" | "semver">;
  readonly isSignedIn: () => Promise<boolean>;
  /** The tag that a lock file has, if it has one. */
  readonly lockedTag: () => string | undefined;
}

/**
 * Makes the function that finds the wanted release. What a server answered is kept with its ETag: asked again, an answer that is the same
 * costs no body, and at GitHub does not count against the limit.
 */
export async function makeReleaseFinder(
  init: ReleasesInit,
): Promise<(operation: string, signal: AbortSignal) => Promise<Release>> {
  const { forge, client, settings } = init;
  const { repository } = forge;
  const known = new Map<string, Answer>();
  const choose = settings.semver === undefined ? undefined : await makeChoice(settings.semver);

  async function ask(
    url: URL,
    tag: string | undefined,
    operation: string,
    signal: AbortSignal,
  ): Promise<Answer> {
    const before = known.get(url.href);
    const condition = before?.etag === undefined ? {} : { "if-none-match": before.etag };
    const headers = { ...forge.headers, ...condition };
    const response = await client.request(url, { headers, operation, signal, expect: "any" });
    if (response.status === 304 && before !== undefined) {
      await response.discard();
      return before;
    }
    if (response.status !== 200) {
      await response.discard();
      throw refusal(response, { repository, tag }, await init.isSignedIn());
    }
    const answer = await answerOf(response, forge);
    known.set(url.href, answer);
    return answer;
  }

  return async (operation, signal) => {
    const tag = settings.tag ?? init.lockedTag();
    if (choose === undefined || tag !== undefined) {
      const url = tag === undefined ? forge.latest : forge.byTag(tag);
      const [release] = (await ask(url, tag, operation, signal)).releases;
      if (release !== undefined) return release;
      throw refusal({ status: 404, headers: {} }, { repository, tag }, true);
    }
    const all: Release[] = [];
    for (let page = 1; page <= MOST_PAGES; page++) {
      const { releases, isLast } = await ask(forge.page(page), undefined, operation, signal);
      all.push(...releases);
      if (isLast) return choose(all);
    }
    throw new SourceError("invalid", "the server's list of releases does not end");
  };
}

async function answerOf({ headers, body }: HttpResponse, forge: Forge): Promise<Answer> {
  const json = await readJson(body, LONGEST_ANSWER, notReleases);
  const parsed = (Array.isArray(json) ? json : [json]).map((one) => forge.parse(one));
  const releases: Release[] = [];
  for (const release of parsed) {
    if (release === null) throw notReleases();
    if (release !== undefined) releases.push(release);
  }
  const isLast = !/;\s*rel="?next"?/.test(headers["link"] ?? "");
  return { etag: headers["etag"], releases, isLast };
}

function notReleases(cause?: unknown): SourceError {
  return new SourceError("invalid", "the answer is not one about releases", {
    hint: "check the URL, and what kind of server it is: api=github, api=gitlab or api=gitea",
    cause,
  });
}

/**
 * Tags are taken for versions with or without a `v` before them. Versions before a release count only where the range names one.
 *
 * @throws UsageError where it is not a range
 */
async function makeChoice(range: string): Promise<(releases: readonly Release[]) => Release> {
  const { default: semver } = await import("semver");
  if (semver.validRange(range) === null) {
    throw new UsageError(
      `${JSON.stringify(range)} is not a valid range of versions`,
      "write for example semver=%3E%3D1.2.0%20%3C2 for >=1.2.0 <2",
    );
  }
  return (releases) => {
    let best: { release: Release; version: string } | undefined;
    for (const release of releases) {
      const version = semver.valid(release.tag);
      if (version === null || !semver.satisfies(version, range)) continue;
      if (best === undefined || semver.compareBuild(version, best.version) > 0)
        best = { release, version };
    }
    if (best !== undefined) return best.release;
    throw new SourceError("not-found", `no release is a version in the range ${range}`, {
      reached: "signed-in",
      hint: `there are ${releases.length} releases; look at their tags, and correct semver=`,
    });
  };
}

/** Names a state of what is published of a release. */
export function nameState(release: Release, parts: Release["assets"]): string {
  const state = parts.map(({ name, size, checksum, version }) => [name, size, checksum, version]);
  return createHash("sha256")
    .update(JSON.stringify([release.tag, state]))
    .digest("hex")
    .slice(0, 40);
}
