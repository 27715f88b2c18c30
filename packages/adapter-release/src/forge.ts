/** The servers that have releases, and how each is asked for them. */
import { type Location, UsageError } from "@pannier/core/adapter";
import type { Checksum } from "@pannier/http-content";
import { parseChecksum } from "@pannier/http-content";
import type { ReleaseSettings } from "./options.ts";

/** A file of a release. */
export interface Asset {
  readonly name: string;
  /** Where its content is. May be on any host. */
  readonly url: string;
  /** The same by the API, where it differs: only that lets those in who have a token. */
  readonly apiUrl?: string | undefined;
  readonly size: number | undefined;
  readonly checksum: Checksum | undefined;
  /** Changes whenever the content does, as far as the server tells. */
  readonly version: string;
}

export interface Release {
  readonly tag: string;
  readonly isPrerelease: boolean;
  readonly assets: readonly Asset[];
}

/** A repository on a server of some kind. */
export interface Forge {
  /** `org/repo`. */
  readonly repository: string;
  /** Where requests go that sign in: the API, and the pages. */
  readonly origins: readonly string[];
  /** Where tokens of the server's own tools are looked up. */
  readonly tokenVariables: readonly string[];
  readonly headers: Readonly<Record<string, string>>;
  readonly latest: URL;
  byTag(tag: string): URL;
  /** A page of all releases, from 1 on. */
  page(number: number): URL;
  /** @returns `undefined` for one that is not out yet; null where it is no release */
  parse(json: unknown): Release | undefined | null;
}

const FORM = "write release+https://HOST/ORG/REPOSITORY?asset=NAME";
/** Releases of a page: more is not given by Gitea. */
const PAGE = 50;

/** @throws UsageError on a URL that cannot be a repository's, or a host of unknown kind */
export function findForge(location: Location, { api }: ReleaseSettings): Forge {
  const { host, port, scheme, pathname } = location;
  const origin = `${scheme.replace("release+", "")}://${host}${port === undefined ? "" : `:${port}`}`;
  const segments = pathname.replace(/\.git\/?$/, "").split("/");
  const parts = segments.filter((segment) => segment !== "");
  const isSafe = parts.every((part) => /^[\w.~-]+$/.test(part) && !/^\.+$/.test(part));
  if (parts.length < 2 || !isSafe) {
    throw new UsageError(`"${parts.join("/")}" is not the path of a repository`, FORM);
  }
  switch (api === "auto" ? kindOf(host) : api) {
    case "github":
      return github(origin, host, parts);
    case "gitlab":
      return gitlab(origin, host, parts);
    case "gitea":
      return gitea(origin, parts);
  }
}

function kindOf(host: string): "github" | "gitlab" | "gitea" {
  if (/\bgithub\b/i.test(host)) return "github";
  if (/\bgitlab\b/i.test(host)) return "gitlab";
  if (/\b(?:gitea|forgejo|codeberg)\b/i.test(host)) return "gitea";
  throw new UsageError(
    `the host ${host} does not say what kind of server it is`,
    "add api=github, api=gitlab or api=gitea to the URL",
  );
}

/** https://docs.github.com/en/rest/releases/releases */
function github(origin: string, host: string, parts: readonly string[]): Forge {
  const isPublic = host === "github.com";
  const { base, repository } = placeOf(parts);
  const api = isPublic
    ? `https://api.github.com/repos/${repository}`
    : `${origin}${base}/api/v3/repos/${repository}`;
  return {
    repository,
    origins: [new URL(api).origin, origin],
    tokenVariables: isPublic ? ["GH_TOKEN", "GITHUB_TOKEN"] : [],
    headers: { accept: "application/vnd.github+json", "x-github-api-version": "2022-11-28" },
    latest: new URL(`${api}/releases/latest`),
    byTag: (tag) => new URL(`${api}/releases/tags/${encodeURIComponent(tag)}`),
    page: (number) => new URL(`${api}/releases?per_page=${PAGE}&page=${number}`),
    parse: (json) =>
      parseRelease(json, (asset) => {
        const { id, name, size, digest, updated_at: updated, browser_download_url: url } = asset;
        if (typeof name !== "string" || typeof url !== "string") return undefined;
        const checksum = checksumOf(digest);
        const apiUrl = `${api}/releases/assets/${String(id)}`;
        return { name, url, apiUrl, size: sizeOf(size), checksum, version: `${id} ${updated}` };
      }),
  };
}

/** https://docs.gitea.com/api: /repos/{owner}/{repo}/releases; the same of Forgejo. */
function gitea(origin: string, parts: readonly string[]): Forge {
  const { base, repository } = placeOf(parts);
  const api = `${origin}${base}/api/v1/repos/${repository}`;
  return {
    repository,
    origins: [origin],
    tokenVariables: [],
    headers: { accept: "application/json" },
    latest: new URL(`${api}/releases/latest`),
    byTag: (tag) => new URL(`${api}/releases/tags/${encodeURIComponent(tag)}`),
    page: (number) => new URL(`${api}/releases?draft=false&limit=${PAGE}&page=${number}`),
    parse: (json) =>
      parseRelease(json, (asset) => {
        const { id, uuid, name, size, browser_download_url: url } = asset;
        if (typeof name !== "string" || typeof url !== "string") return undefined;
        return { name, url, size: sizeOf(size), checksum: undefined, version: `${id} ${uuid}` };
      }),
  };
}

/** https://docs.gitlab.com/api/releases/. It has groups in groups, and does not say which releases are only for testers. */
function gitlab(origin: string, host: string, parts: readonly string[]): Forge {
  const repository = parts.join("/");
  const api = `${origin}/api/v4/projects/${encodeURIComponent(repository)}`;
  const all = `${api}/releases?order_by=released_at&sort=desc&per_page=${PAGE}`;
  return {
    repository,
    origins: [origin],
    tokenVariables: host === "gitlab.com" ? ["GITLAB_TOKEN"] : [],
    headers: { accept: "application/json" },
    // Ordered: the first one that is out is the latest.
    latest: new URL(all),
    byTag: (tag) => new URL(`${api}/releases/${encodeURIComponent(tag)}`),
    page: (number) => new URL(`${all}&page=${number}`),
    parse(json) {
      const { upcoming_release: isUpcoming, assets, ...rest } = objectOf(json);
      const release = parseRelease({ ...rest, assets: objectOf(assets)["links"] }, (link) => {
        const { id, name, url } = link;
        if (typeof name !== "string" || typeof url !== "string") return undefined;
        return { name, url, size: undefined, checksum: undefined, version: `${id} ${url}` };
      });
      return isUpcoming === true ? undefined : release;
    },
  };
}

/** Where a server is below a path of its host, that path is before the repository's. */
function placeOf(parts: readonly string[]): { readonly base: string; readonly repository: string } {
  const base = parts.slice(0, -2).map((part) => `/${part}`);
  return { base: base.join(""), repository: parts.slice(-2).join("/") };
}

function parseRelease(
  json: unknown,
  parseAsset: (asset: Readonly<Record<string, unknown>>) => Asset | undefined,
): Release | undefined | null {
  const { tag_name: tag, draft, prerelease, assets } = objectOf(json);
  if (typeof tag !== "string" || tag === "" || !Array.isArray(assets)) return null;
  const parsed = assets.map((asset: unknown) => parseAsset(objectOf(asset)));
  if (!parsed.every((asset) => asset !== undefined)) return null;
  if (draft === true) return undefined;
  return { tag, isPrerelease: prerelease === true, assets: parsed };
}

function objectOf(value: unknown): Readonly<Record<string, unknown>> {
  return typeof value === "object" && value !== null ? (value as Record<string, unknown>) : {};
}

function sizeOf(value: unknown): number | undefined {
  return Number.isSafeInteger(value) && (value as number) >= 0 ? (value as number) : undefined;
}

/** `sha256:HEX`, which GitHub takes as an asset is uploaded; older ones have none. */
function checksumOf(value: unknown): Checksum | undefined {
  if (typeof value !== "string" || !/^sha(?:256|512):[0-9a-f]+$/.test(value)) return undefined;
  const checksum = parseChecksum(value);
  return "hex" in checksum ? checksum : undefined;
}
