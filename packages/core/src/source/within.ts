/** A source that lies in a folder which another adapter reaches: `oci+s3://bucket/site` is an image layout in a bucket. */
import type { Adapter, Folder, FolderContext } from "./contract.ts";
import { UsageError } from "./errors.ts";
import type { Location } from "./location.ts";
import { parseOptions } from "./options.ts";

/** The scheme of the folder: `s3` of `oci+s3`. `undefined` where the adapter knows the scheme itself, or it is not one of its own. */
export function folderScheme(
  { scheme }: Pick<Location, "scheme">,
  { schemes, inFolders }: Pick<Adapter, "schemes" | "inFolders">,
): string | undefined {
  const prefix = `${schemes[0]}+`;
  if (inFolders !== true || schemes.includes(scheme) || !scheme.startsWith(prefix))
    return undefined;
  return scheme.slice(prefix.length);
}

/** Where a folder is, reached by an adapter that was found and options that were checked. */
export interface FolderPlace {
  readonly adapter: Adapter;
  /** @param pathname of the folder, percent-encoded. Not always all of the URL's: its end may be a tag, which the outer adapter reads */
  open(pathname: string, context: FolderContext): Promise<Folder>;
}

/**
 * @param scheme of the folder
 * @param packages of all adapters that are known, by scheme
 * @throws UsageError where there is no adapter for it, or none that opens folders
 */
export function folderAdapter(
  { scheme: whole }: Location,
  scheme: string,
  adapters: readonly Adapter[],
  packages: Readonly<Record<string, string>>,
): Adapter {
  const found = adapters.find(({ schemes }) => schemes.includes(scheme));
  if (found?.openFolder !== undefined) return found;
  if (found !== undefined) {
    const prefix = whole.slice(0, -scheme.length);
    throw new UsageError(
      `"${whole}://" is not supported: the adapter ${found.name} opens no folders for others`,
      `schemes that are: ${Object.keys(packages)
        .filter((known) => known.startsWith(prefix))
        .join(", ")}`,
    );
  }
  throw new UsageError(
    `"${whole}://" needs an adapter for "${scheme}://" as well, which is not in this build`,
    Object.hasOwn(packages, scheme)
      ? `add the package ${packages[scheme]}`
      : "check the scheme of the URL",
  );
}

/** Checks the options that the URL gives for the folder. @throws UsageError */
export function folderPlace(adapter: Adapter, location: Location, scheme: string): FolderPlace {
  const options = parseOptions(adapter.options, location.query, adapter.name);
  return placeOf(adapter, location, scheme, options);
}

/** The adapter for a source in such a folder: it has the options of both. */
export function adapterWithin(outer: Adapter, inner: Adapter, scheme: string): Adapter {
  return {
    ...outer,
    schemes: [...outer.schemes, `${outer.schemes[0]}+${scheme}`],
    options: { ...inner.options, ...outer.options },
    async open(location, options, context) {
      const own = Object.entries(options).filter(([name]) => Object.hasOwn(inner.options, name));
      const place = placeOf(inner, location, scheme, Object.fromEntries(own));
      return outer.open(location, options, {
        ...context,
        folder: (pathname) => place.open(pathname, context),
      });
    },
  };
}

function placeOf(
  adapter: Adapter,
  location: Location,
  scheme: string,
  options: Readonly<Record<string, unknown>>,
): FolderPlace {
  return {
    adapter,
    async open(pathname, context) {
      if (adapter.openFolder === undefined) throw new UsageError(`${adapter.name} has no folders`);
      return adapter.openFolder({ ...location, scheme, pathname }, options as never, context);
    },
  };
}
