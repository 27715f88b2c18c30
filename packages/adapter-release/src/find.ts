/** Finds what is published of a repository's releases, and where it is. */
import { SourceError } from "@pannier/core/adapter";
import type { HttpClient } from "@pannier/http-client";
import { besideUrl, type Checksum } from "@pannier/http-content";
import type { ReadBeside } from "@pannier/signatures";
import { chooseAssets, companionsOf, makeChecksums } from "./choose.ts";
import type { Asset, Release } from "./forge.ts";
import { makeReleaseFinder, nameState, type ReleasesInit } from "./releases.ts";
import type { ReleaseSettings } from "./options.ts";

/** What is published, as it is now. */
export interface Found {
  readonly release: Release;
  /** One, or where they are published as files any number. */
  readonly assets: readonly Asset[];
  readonly token: string;
  readonly revision: string;
  /** What an asset has to hash to. */
  readonly checksumOf: (asset: Asset, signal: AbortSignal) => Promise<Checksum | undefined>;
  /** Reads what lies beside the only asset. */
  readonly beside: (signal: AbortSignal) => ReadBeside;
}

export interface FinderInit extends ReleasesInit {
  readonly settings: ReleaseSettings;
  /** Asks for content. */
  readonly content: HttpClient;
  /** Whether assets may be at `http:`. */
  readonly isPlain: boolean;
}

export interface Finder {
  find(operation: string, signal: AbortSignal): Promise<Found>;
  /** @throws SourceError where it leads to plain http, or nowhere */
  urlOf(asset: Asset): Promise<URL>;
}

/**
 * @param byApi whether the API is asked, where it has assets
 * @param isPlain whether it may be at `http:`
 * @throws SourceError where it is elsewhere
 */
export function assetUrl({ url, apiUrl, name }: Asset, byApi: boolean, isPlain: boolean): URL {
  const found = URL.parse((byApi ? apiUrl : undefined) ?? url);
  if (found?.protocol === "https:" || (found?.protocol === "http:" && isPlain)) return found;
  throw new SourceError("invalid", `the asset ${JSON.stringify(name)} is not at an https URL`);
}

/** The tag alone does not do: what is below it may be replaced. */
function revisionOf({ tag }: Release, token: string): string {
  return `${tag}-${token.slice(0, 12)}`;
}

/** The tag in a revision. */
export function tagOf(revision: string | undefined): string | undefined {
  return /^(.+)-[0-9a-f]{12}$/s.exec(revision ?? "")?.[1];
}

export async function makeFinder(init: FinderInit): Promise<Finder> {
  const { settings, content, isSignedIn, isPlain } = init;
  const findRelease = await makeReleaseFinder(init);

  // The page of a private repository's asset does not know tokens.
  const urlOf = async (asset: Asset) => assetUrl(asset, await isSignedIn(), isPlain);

  function besideAsset(release: Release, only: Asset | undefined, signal: AbortSignal): ReadBeside {
    return async (ending, most) => {
      const name = `${only?.name}${ending}`;
      const asset = release.assets.find((one) => one.name === name);
      if (asset === undefined) return undefined;
      return besideUrl(content, await urlOf(asset), signal)("", most);
    };
  }

  return {
    async find(operation, signal) {
      const release = await findRelease(operation, signal);
      const assets = chooseAssets(release, settings);
      const companions = assets.flatMap((asset) => companionsOf(asset, release));
      const token = nameState(release, [...new Set([...assets, ...companions])]);
      return {
        release,
        assets,
        token,
        revision: revisionOf(release, token),
        checksumOf: makeChecksums({ client: content, urlOf, release }),
        beside: (asked) => besideAsset(release, assets[0], asked),
      };
    },
    urlOf,
  };
}
