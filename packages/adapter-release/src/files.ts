/** Assets that are published as they are, under their names. */
import { type FileEntry, type Source, SourceError } from "@pannier/core/adapter";
import { type HttpClient, inspect, readVersion } from "@pannier/http-client";
import { type Checksum, createDigestReader, verified } from "@pannier/http-content";
import type { Found } from "./find.ts";
import type { Asset } from "./forge.ts";

export interface FilesInit {
  readonly client: HttpClient;
  readonly find: (signal: AbortSignal) => Promise<Found>;
  readonly urlOf: (asset: Asset) => Promise<URL>;
  readonly probe: Source["probe"];
}

export function filesSource({ client, find, urlOf, probe }: FilesInit): Source {
  let found: Found | undefined;
  let listed: readonly FileEntry[] = [];
  const readByDigest = createDigestReader(client, async (signal) => {
    // What was listed stays what is read, until it is listed again.
    const before = found?.token;
    const now = await find(signal);
    if (now.token !== before)
      return new SourceError("changed", "the asset changed since it was listed");
    return new SourceError("invalid", "the asset has not the sha256 checksum that is told for it", {
      hint: "have whoever released it put up the asset and its checksum again",
    });
  });

  async function entryOf(asset: Asset, checksum: Checksum | undefined, signal: AbortSignal) {
    const { name, size } = asset;
    const entry = { kind: "file", path: name } as const;
    if (checksum?.algorithm === "sha256") {
      const digest = { algorithm: "sha256", value: checksum.hex } as const;
      return { ...entry, size, fingerprint: `sha256:${checksum.hex}`, digest };
    }
    const resource = await inspect(client, await urlOf(asset), "list", signal);
    const { validator, fingerprint, mtime, size: told } = resource ?? {};
    return {
      ...entry,
      size: size ?? told,
      mtime,
      fingerprint:
        checksum === undefined
          ? `${asset.version} ${fingerprint ?? ""}`
          : `${checksum.algorithm}:${checksum.hex}`,
      ref: validator,
    };
  }

  return {
    probe,

    async list(signal) {
      signal.throwIfAborted();
      found = await find(signal);
      const { assets, checksumOf, token, revision } = found;
      const entries: FileEntry[] = [];
      for (const asset of assets)
        entries.push(await entryOf(asset, await checksumOf(asset, signal), signal));
      listed = entries;
      return { entries: [entries], ordered: false, revision, token: () => token };
    },

    async read(entry, range, signal) {
      signal.throwIfAborted();
      found ??= await find(signal);
      const asset = found.assets.find(({ name }) => name === entry.path);
      if (asset === undefined) throw new SourceError("changed", "the asset is not there any more");
      const url = await urlOf(asset);
      if (isChecked(entry)) return readByDigest(entry, url, range, signal);
      const body = await readVersion(client, url, entry.ref, entry.size, range, signal);
      // The engine itself checks SHA-256; of a part, nothing can be checked.
      const [, algorithm, hex = ""] = /^(sha512|sha1|md5):(.*)$/.exec(entry.fingerprint) ?? [];
      if (algorithm === undefined || range !== undefined) return body;
      const checksum = { algorithm: algorithm as "sha512" | "sha1" | "md5", hex };
      return verified(body instanceof Uint8Array ? oneChunk(body) : body, checksum);
    },

    get ranges() {
      return listed.every(isChecked);
    },
    get contentAddressed() {
      return listed.every(isChecked);
    },
    close: () => client.close(),
  };
}

async function* oneChunk(bytes: Uint8Array): AsyncGenerator<Uint8Array> {
  yield bytes;
}

function isChecked({ digest }: FileEntry): boolean {
  return digest !== undefined;
}
