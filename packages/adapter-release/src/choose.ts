/** Which assets of a release are meant, and which tell what they hash to. */
import { SourceError } from "@pannier/core/adapter";
import type { HttpClient } from "@pannier/http-client";
import { type Checksum, findChecksum, readChecksumFile } from "@pannier/http-content";
import type { Asset, Release } from "./forge.ts";
import type { ReleaseSettings } from "./options.ts";

/** What lies beside an asset, by the ending behind its name. */
const BESIDE =
  /\.(?:sha(?:1|256|512)(?:sums?)?|md5|minisig|sig|asc|pem|cert|crt|sigstore(?:\.json)?)$/i;
/** `SHA256SUMS`, `checksums.txt`, `app_1.2_checksums.txt`, `app.tgz.sha256`. */
const CHECKSUMS =
  /(?:^|[._-])(?:sha(?:256|512)(?:sums?)?|checksums?)(?:[._-](?:sha)?(?:256|512))?(?:\.txt)?$/i;
const MOST_NAMED = 10;

/**
 * The assets that are meant: one, or where they are published as files any number, in the order of their names.
 *
 * @throws SourceError `not-found` where there is none, `invalid` where there are too many
 */
export function chooseAssets(
  release: Release,
  { asset: wanted, unpack }: Pick<ReleaseSettings, "asset" | "unpack">,
): readonly Asset[] {
  const { assets, tag } = release;
  const exact = assets.filter(({ name }) => name === wanted);
  const pattern = wanted === undefined ? /^/ : globOf(wanted);
  const matching = exact.length > 0 ? exact : assets.filter(({ name }) => pattern.test(name));
  const files = matching.filter((one) => exact.includes(one) || !isBeside(one, assets));
  const chosen = unpack === "no" && wanted === undefined ? matching : files;
  const clash = chosen.find(({ name }, at) => chosen.findIndex((one) => one.name === name) !== at);
  if (clash !== undefined) {
    throw new SourceError("invalid", `${tag} has two assets named ${JSON.stringify(clash.name)}`);
  }
  if (chosen.length === 0) {
    throw new SourceError("not-found", `${tag} has no asset ${wanted ?? ""}`.trimEnd(), {
      reached: "signed-in",
      hint: `it has ${namesOf(assets)}; one may still be on its way`,
    });
  }
  if (chosen.length > 1 && unpack !== "no") {
    throw new SourceError("invalid", `${tag} has ${chosen.length} assets that may be meant`, {
      hint: `choose with asset=NAME among ${namesOf(chosen)}, or publish them as files with unpack=no`,
    });
  }
  return chosen.toSorted((a, b) => (a.name < b.name ? -1 : 1));
}

function namesOf(assets: readonly Asset[]): string {
  if (assets.length === 0) return "none";
  const names = assets.slice(0, MOST_NAMED).map(({ name }) => JSON.stringify(name));
  const more = assets.length - names.length;
  return names.join(", ") + (more > 0 ? ` and ${more} more` : "");
}

function globOf(glob: string): RegExp {
  const source = glob
    .replaceAll(/[\\^$.|+()[\]{}]/g, String.raw`\$&`)
    .replaceAll(/\*+/g, ".*")
    .replaceAll("?", ".");
  return new RegExp(`^${source}$`, "su");
}

/** Whether an asset only says something of another one, or of all. */
function isBeside({ name }: Asset, assets: readonly Asset[]): boolean {
  if (CHECKSUMS.test(name.replace(BESIDE, "")) || CHECKSUMS.test(name)) return true;
  return BESIDE.test(name) && assets.some((one) => one.name === name.replace(BESIDE, ""));
}

/** The assets that checksums of another one may be in: first those that are of it alone. */
function checksumFiles({ name }: Asset, { assets }: Release): readonly Asset[] {
  const found = assets.filter((one) => CHECKSUMS.test(one.name));
  const own = found.filter((one) => one.name.startsWith(`${name}.`));
  if (own.length > 0) return own;
  const isOfAnother = (one: Asset) =>
    assets.some((other) => other !== one && one.name.startsWith(`${other.name}.`));
  return found.filter((one) => !isOfAnother(one));
}

/** What lies beside an asset, and has to be the same for the asset to be the same. */
export function companionsOf(asset: Asset, release: Release): readonly Asset[] {
  const signatures = release.assets.filter(
    (one) => one.name.startsWith(`${asset.name}.`) && BESIDE.test(one.name),
  );
  return [...new Set([...checksumFiles(asset, release), ...signatures])];
}

export interface ChecksumInit {
  readonly client: HttpClient;
  readonly urlOf: (asset: Asset) => Promise<URL>;
  readonly release: Release;
}

/**
 * What assets have to hash to: as files of checksums in the release say, else as the server does.
 *
 * @throws SourceError `invalid` where both say something else
 */
export function makeChecksums({ client, urlOf, release }: ChecksumInit) {
  const texts = new Map<Asset, Promise<string>>();

  async function read(asset: Asset, signal: AbortSignal): Promise<string> {
    const url = await urlOf(asset);
    const subject = JSON.stringify(asset.name);
    return readChecksumFile(await client.request(url, { operation: "checksum", subject, signal }));
  }

  return async (asset: Asset, signal: AbortSignal): Promise<Checksum | undefined> => {
    const { name, checksum: told } = asset;
    for (const file of checksumFiles(asset, release)) {
      const text = texts.get(file) ?? read(file, signal);
      texts.set(file, text);
      const found = findChecksum(await text, name);
      if (found === undefined) continue;
      if (told !== undefined && told.algorithm === found.algorithm && told.hex !== found.hex) {
        throw new SourceError(
          "invalid",
          `the server has another ${told.algorithm} of ${JSON.stringify(name)} than ${JSON.stringify(file.name)} says`,
          { hint: "it was replaced without its checksum, or is being replaced" },
        );
      }
      return found;
    }
    return told;
  };
}
