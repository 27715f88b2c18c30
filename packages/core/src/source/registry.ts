/** From what a user writes to a {@link SourceSpec}: which adapter a URL means, with its options checked. */
import type { Adapter, SourceSpec } from "./contract.ts";
import { eitherSpec } from "./either.ts";
import { UsageError } from "./errors.ts";
import { type Location, parseLocation, redact } from "./location.ts";
import { nearest } from "./nearest.ts";
import { type OptionSpecs, type OptionValues, parseOptions } from "./options.ts";
import {
  adapterWithin,
  folderAdapter,
  type FolderPlace,
  folderPlace,
  folderScheme,
} from "./within.ts";

/** Adapters of ours that may be missing from a build, by scheme, for a message that says what to install. */
const KNOWN_PACKAGES: Readonly<Record<string, string>> = {
  file: "@pannier/adapter-file",
  "git+https": "@pannier/adapter-git",
  "git+http": "@pannier/adapter-git",
  "git+ssh": "@pannier/adapter-git",
  "git+file": "@pannier/adapter-git",
  http: "@pannier/adapter-http",
  https: "@pannier/adapter-http",
  dav: "@pannier/adapter-webdav",
  davs: "@pannier/adapter-webdav",
  hf: "@pannier/adapter-hf",
  k8s: "@pannier/adapter-k8s",
  "release+https": "@pannier/adapter-release",
  "release+http": "@pannier/adapter-release",
  s3: "@pannier/adapter-s3",
  gs: "@pannier/adapter-gcs",
  az: "@pannier/adapter-azure",
  smb: "@pannier/adapter-smb",
  nfs: "@pannier/adapter-nfs",
  ftp: "@pannier/adapter-ftp",
  ftps: "@pannier/adapter-ftp",
  sftp: "@pannier/adapter-sftp",
  oci: "@pannier/adapter-oci",
  "oci+http": "@pannier/adapter-oci",
  "oci+https": "@pannier/adapter-oci",
  "oci+file": "@pannier/adapter-oci",
  // In a folder that another adapter reaches.
  "oci+s3": "@pannier/adapter-oci",
  "oci+gs": "@pannier/adapter-oci",
  "oci+az": "@pannier/adapter-oci",
  "oci+dav": "@pannier/adapter-oci",
  "oci+davs": "@pannier/adapter-oci",
};

/** What other tools call them. */
const OTHER_NAMES: Readonly<Record<string, string>> = {
  git: "git+https",
  ssh: "git+ssh",
  webdav: "dav",
  webdavs: "davs",
  "dav+https": "davs",
  gcs: "gs",
  azure: "az",
  azblob: "az",
  abfs: "az",
  abfss: "az",
  wasb: "az",
  wasbs: "az",
  cifs: "smb",
  nfs4: "nfs",
  docker: "oci",
  "oci+gcs": "oci+gs",
  "oci+azure": "oci+az",
  "oci+webdav": "oci+dav",
  "oci+webdavs": "oci+davs",
  huggingface: "hf",
  kubernetes: "k8s",
};

function otherName(scheme: string): string | undefined {
  return Object.hasOwn(OTHER_NAMES, scheme) ? OTHER_NAMES[scheme] : undefined;
}

/** What {@link resolveSource} may be told beside the URL. */
export interface ResolveOptions {
  /** Name of the adapter to use whatever the scheme says (`PANNIER_ADAPTER`). */
  readonly adapter?: string | undefined;
  /** Options beside those of the URL's query; these win. */
  readonly options?: Readonly<Record<string, unknown>> | undefined;
  /** What relative paths are relative to. Default: the process's working directory. */
  readonly cwd?: string | undefined;
}

/**
 * Finds the adapter for a source as a user writes it and checks the options.
 *
 * @throws UsageError naming the package to install when no adapter claims the scheme, or the option that is wrong
 */
export function resolveSource(
  text: string,
  adapters: readonly Adapter[],
  init: ResolveOptions = {},
): SourceSpec {
  const location = parseLocation(text, init.cwd);
  const within = chooseWithin(location, adapters, init.adapter);
  if (within !== undefined) return makeSpec(within, location, init.options);
  const spec = makeSpec(chooseAdapter(location, adapters, init.adapter), location, init.options);
  if (init.adapter !== undefined || spec.adapter.claims?.(location) === true) return spec;
  const other = adapters.find(
    (adapter) => adapter !== spec.adapter && adapter.suspects?.(location) === true,
  );
  if (other === undefined) return spec;
  try {
    return eitherSpec(makeSpec(other, location, init.options), spec);
  } catch {
    // With these options it cannot be meant for that one.
    return spec;
  }
}

/**
 * The function that an adapter package exports under its own name, for use as a library:
 * `export const git = sourceFactory(gitAdapter)`, then `git('https://host/repo.git', { ref: 'main' })`.
 */
export function sourceFactory<Specs extends OptionSpecs>(
  adapter: Adapter<Specs>,
): (url: string, options?: Partial<OptionValues<Specs>>) => SourceSpec {
  return (url, options) => makeSpec(adapter as unknown as Adapter, parseLocation(url), options);
}

function makeSpec(
  adapter: Adapter,
  location: Location,
  extra: Readonly<Record<string, unknown>> | undefined,
): SourceSpec {
  const names = Object.keys(adapter.options);
  const own =
    adapter.ownQuery === true
      ? Object.entries(location.query).filter(
          ([name]) => names.includes(name) || isMistyped(name, names),
        )
      : Object.entries(location.query);
  // An option that is passed as undefined is not passed: it must not hide the URL's.
  const given = Object.entries(extra ?? {}).filter(([, value]) => value !== undefined);
  const raw = Object.fromEntries([...own, ...given]);
  return { adapter, location, options: parseOptions(adapter.options, raw, adapter.name) };
}

/** Short names are near to each other by chance: `part` is a server's own parameter, no mistyped `path`. */
function isMistyped(name: string, known: readonly string[]): boolean {
  return name.length > 4 && nearest(name, known) !== undefined;
}

/** The adapter for a source that lies in a folder of another's; `undefined` where it does not. */
function chooseWithin(
  location: Location,
  adapters: readonly Adapter[],
  name: string | undefined,
): Adapter | undefined {
  for (const outer of adapters) {
    const scheme = folderScheme(location, outer);
    if (scheme === undefined || (name !== undefined && name !== outer.name)) continue;
    if (otherName(location.scheme) !== undefined) return undefined;
    return adapterWithin(outer, folderAdapter(location, scheme, adapters, KNOWN_PACKAGES), scheme);
  }
  return undefined;
}

/**
 * The folder that a destination lies in: of `oci+s3://bucket/site:live`, `s3`.
 *
 * @param prefix that of the scheme, with its `+`
 * @throws UsageError as {@link resolveSource}
 */
export function resolveFolder(
  location: Location,
  prefix: string,
  adapters: readonly Adapter[],
): FolderPlace {
  const scheme = location.scheme.slice(prefix.length);
  return folderPlace(folderAdapter(location, scheme, adapters, KNOWN_PACKAGES), location, scheme);
}

function chooseAdapter(
  location: Location,
  adapters: readonly Adapter[],
  name: string | undefined,
): Adapter {
  const present = adapters.map((adapter) => adapter.name).join(", ") || "none";
  if (name !== undefined) {
    const named = adapters.find((adapter) => adapter.name === name);
    if (named !== undefined) return named;
    throw new UsageError(
      `there is no adapter "${name}" in this build (present: ${present})`,
      `install @pannier/adapter-${name}, or choose one that is present`,
    );
  }
  const chosen =
    adapters.find((adapter) => adapter.claims?.(location) === true) ??
    adapters.find((adapter) => adapter.schemes.includes(location.scheme)) ??
    // With nobody else to ask, it can only be that.
    adapters.find((adapter) => adapter.suspects?.(location) === true);
  if (chosen !== undefined) return chosen;
  const known = Object.hasOwn(KNOWN_PACKAGES, location.scheme)
    ? KNOWN_PACKAGES[location.scheme]
    : undefined;
  const near =
    otherName(location.scheme) ??
    nearest(location.scheme, [
      ...Object.keys(KNOWN_PACKAGES),
      ...adapters.flatMap((adapter) => adapter.schemes),
    ]);
  throw new UsageError(
    `no adapter for "${location.scheme}://" in this build (present: ${present})`,
    known !== undefined
      ? `add the package ${known}`
      : near !== undefined
        ? `did you mean "${near}://"?`
        : "add the package of an adapter for this scheme, or name one with PANNIER_ADAPTER",
  );
}

/** The source as it may be printed: credentials and foreign query parameters hidden. */
export function describeSource(spec: SourceSpec): string {
  return redact(spec.location, Object.keys(spec.adapter.options));
}
