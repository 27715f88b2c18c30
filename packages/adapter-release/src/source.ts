/** A source that is one archive of a release or some of its files, whichever it finds. */
import { extname } from "node:path";
import { looksLikeArchive } from "@pannier/archive";
import { type Source, type SourceContext, UsageError } from "@pannier/core/adapter";
import type { HttpClient } from "@pannier/http-client";
import { archiveSource, type LocatedArchive, undecidedSource } from "@pannier/http-content";
import { signedFile } from "@pannier/signatures";
import { filesSource } from "./files.ts";
import type { Finder, Found } from "./find.ts";
import type { Asset } from "./forge.ts";
import type { ReleaseSettings } from "./options.ts";

// Beside this file, whether that is source, built, or bundled with the program.
const ARCHIVE_LANE = new URL(`./archive-lane${extname(import.meta.url)}`, import.meta.url);

export interface ReleaseSourceInit {
  readonly finder: Finder;
  /** Asks for content. */
  readonly content: HttpClient;
  readonly settings: ReleaseSettings;
  readonly context: SourceContext;
  readonly identity: NonNullable<Source["identity"]>;
}

export function releaseSource(init: ReleaseSourceInit): Source {
  const { finder, settings, identity } = init;
  /** What was found to decide, for the source that is asked next. */
  let ahead: Found | undefined;
  let decided: Source | undefined;

  const probe: Source["probe"] = async (signal) => {
    signal.throwIfAborted();
    const { token, revision } = await finder.find("probe", signal);
    return { token, revision };
  };

  async function take(signal: AbortSignal): Promise<Found> {
    const found = ahead ?? (await finder.find("list", signal));
    ahead = undefined;
    return found;
  }

  const archive = openArchive(init, probe, take);
  const files = openFiles(init, probe, take);

  async function decide(operation: string, signal: AbortSignal): Promise<Source> {
    signal.throwIfAborted();
    ahead = await finder.find(operation, signal);
    decided = isArchive(ahead, settings) ? archive : files;
    return decided;
  }

  const source = undecidedSource({
    probe,
    toList: (signal) => decide("list", signal),
    async toRead(signal) {
      signal.throwIfAborted();
      return decided ?? decide("read", signal);
    },
    decided: () => decided,
    // And the client, which is that of both.
    close: () => archive.close(),
  });
  return Object.assign(source, { identity });
}

type Take = (signal: AbortSignal) => Promise<Found>;

function openArchive(
  { finder, content, settings, context }: ReleaseSourceInit,
  probe: Source["probe"],
  take: Take,
): Source {
  const found = new WeakMap<LocatedArchive, Found>();
  return archiveSource({
    client: content,
    async locate(signal) {
      const one = await take(signal);
      const [asset] = one.assets as readonly [Asset];
      const checksum = await one.checksumOf(asset, signal);
      const { token, revision } = one;
      const located = { url: await finder.urlOf(asset), checksum, token, revision };
      found.set(located, one);
      return located;
    },
    beside: (located, signal) => (found.get(located) as Found).beside(signal),
    probe,
    strip: settings.strip,
    path: settings.path,
    context,
    laneModule: ARCHIVE_LANE,
  });
}

function openFiles(
  { finder, content, context }: ReleaseSourceInit,
  probe: Source["probe"],
  take: Take,
): Source {
  let last: Found | undefined;
  const source = filesSource({
    client: content,
    find: async (signal) => (last = await take(signal)),
    urlOf: finder.urlOf,
    probe,
  });
  const { signers = [] } = context;
  if (signers.length === 0) return source;
  // After it was listed, so it was found.
  return signedFile(source, (signal) => (last as Found).beside(signal), signers);
}

/** @throws UsageError where what is no archive should be unpacked */
function isArchive({ assets }: Found, { unpack, strip, path }: ReleaseSettings): boolean {
  if (unpack !== "auto") return unpack === "yes";
  const name = assets[0]?.name ?? "";
  if (looksLikeArchive(name) === true) return true;
  if (strip === 0 && path.length === 0) return false;
  throw new UsageError(
    `${JSON.stringify(name)} does not look like an archive, which options "strip" and "path" are for`,
    "with unpack=yes it is taken as one",
  );
}
