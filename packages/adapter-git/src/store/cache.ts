/**
 * The bare repository that keeps a source's objects between runs. Its folder lies on a volume that others may write to, so
 * whatever is not known to be ours is removed before git looks at it: hooks, alternates, configuration, attributes, locks,
 * half-written packs. All of its small files are written by us; git only adds and repacks packs.
 */
import { randomUUID } from "node:crypto";
import { lstat, mkdir, readdir, readFile, rename, rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { isOid } from "../oid.ts";
import type { ObjectFormat } from "../remote/protocol.ts";

/** Commits that the cache holds completely, so that a fetch may name them as known. */
interface CacheRefs {
  /** Fetched last. */
  readonly latest?: string | undefined;
  /** What the engine last asked changes from: what is published. */
  readonly published?: string | undefined;
}

/** What the cache says it holds. */
export interface CacheState {
  readonly format: ObjectFormat;
  readonly refs: CacheRefs;
  /** Commits whose parents are not here. */
  readonly shallow: readonly string[];
}

/** How far a cache may grow beyond its content: by a factor, and some bytes. */
export interface Growth {
  readonly factor: number;
  readonly bytes: number;
}

const MIB = 1024 * 1024;

/** Where it can be repacked. What is larger than this is not what the next fetch needs, and takes room on the volume. */
export const REPACKED: Growth = { factor: 1.25, bytes: 16 * MIB };

/** Where it has to be fetched again. */
export const REFETCHED: Growth = { factor: 2, bytes: 64 * MIB };

/** More packs than this slow every look-up down. */
const MAX_PACKS = 40;

/** Makes the folder a repository that can be trusted not to run anything, and returns what it says it holds. */
export async function openCache(dir: string, format: ObjectFormat): Promise<CacheState> {
  await keepOnly(dir, (name, kind) =>
    kind === "file" ? /^(HEAD|config|shallow|size)$/.test(name) : /^(objects|refs)$/.test(name),
  );
  await keepOnly(join(dir, "objects"), (name, kind) => kind === "directory" && name === "pack");
  await keepOnly(join(dir, "refs"), (name, kind) => kind === "directory" && name === "heads");
  await keepOnly(
    join(dir, "refs/heads"),
    (name, kind) => kind === "file" && /^(latest|published)$/.test(name),
  );
  const packs = join(dir, "objects/pack");
  await keepOnly(
    packs,
    (name, kind) => kind === "file" && /^pack-[0-9a-f]+\.(pack|idx|rev)$/.test(name),
  );
  // A pack is complete with its index, and worth nothing without.
  const names = new Set(await readdir(packs));
  for (const name of names) {
    const stem = name.replace(/\.[a-z]+$/, "");
    if (!names.has(`${stem}.pack`) || !names.has(`${stem}.idx`)) await rm(join(packs, name));
  }

  await replace(dir, "HEAD", "ref: refs/heads/latest\n");
  await replace(
    dir,
    "config",
    format === "sha1"
      ? "[core]\n\trepositoryformatversion = 0\n\tbare = true\n"
      : "[core]\n\trepositoryformatversion = 1\n\tbare = true\n[extensions]\n\tobjectformat = sha256\n",
  );
  const shallow = (await readLines(join(dir, "shallow"))).filter(isOid);
  return {
    format,
    refs: {
      latest: (await readLines(join(dir, "refs/heads/latest"))).find(isOid),
      published: (await readLines(join(dir, "refs/heads/published"))).find(isOid),
    },
    shallow,
  };
}

/** The object format of what is in the folder, as far as that can be told. */
export async function cacheFormat(dir: string): Promise<ObjectFormat> {
  const config = (await readLines(join(dir, "config"))).join("\n");
  return /objectformat\s*=\s*sha256/.test(config) ? "sha256" : "sha1";
}

/** Records what a fetch brought. The shallow file comes first: a commit must not be reachable before git knows where its history ends. */
export async function recordRefs(
  dir: string,
  refs: CacheRefs,
  shallow: readonly string[],
): Promise<void> {
  if (shallow.length === 0) await rm(join(dir, "shallow"), { force: true });
  else await replace(dir, "shallow", shallow.map((oid) => `${oid}\n`).join(""));
  for (const name of ["latest", "published"] as const) {
    const oid = refs[name];
    if (oid !== undefined) await replace(dir, `refs/heads/${name}`, `${oid}\n`);
  }
}

/** Whether the cache has outgrown its content: what it was when it was last looked after, else its largest pack, which is what a first fetch leaves. */
export async function isOutgrown(dir: string, { factor, bytes }: Growth): Promise<boolean> {
  const packs = await listPacks(dir);
  if (packs.length > MAX_PACKS) return true;
  const noted = Number((await readLines(join(dir, "size")))[0] || Number.NaN);
  const content = Number.isSafeInteger(noted) ? noted : Math.max(0, ...packs.map(sizeOf));
  return totalOf(packs) > factor * content + bytes;
}

/** Takes the cache as it is now for its content. */
export async function noteSize(dir: string): Promise<void> {
  await replace(dir, "size", `${totalOf(await listPacks(dir))}\n`);
}

/** The pack that came last. */
export async function newestPack(dir: string): Promise<string | undefined> {
  const packs = await listPacks(dir);
  return packs.toSorted((a, b) => b.time - a.time)[0]?.name;
}

interface Pack {
  readonly name: string;
  readonly size: number;
  readonly time: number;
}

async function listPacks(dir: string): Promise<Pack[]> {
  const packs = join(dir, "objects/pack");
  const names = (await readdir(packs)).filter((name) => name.endsWith(".pack"));
  return Promise.all(
    names.map(async (name) => {
      const { size, mtimeMs } = await lstat(join(packs, name));
      return { name, size, time: mtimeMs };
    }),
  );
}

const sizeOf = ({ size }: Pack): number => size;
const totalOf = (packs: readonly Pack[]): number => packs.reduce((sum, { size }) => sum + size, 0);

/** Removes what a git process that was killed left behind. */
export async function sweep(dir: string): Promise<void> {
  const packs = join(dir, "objects/pack");
  for (const name of await readdir(packs))
    if (!/^pack-[0-9a-f]+\.(pack|idx|rev)$/.test(name))
      await rm(join(packs, name), { recursive: true, force: true });
}

async function keepOnly(
  dir: string,
  keep: (name: string, kind: "file" | "directory" | "other") => boolean,
): Promise<void> {
  const found = await lstat(dir).catch(() => undefined);
  if (found !== undefined && !found.isDirectory()) await rm(dir, { force: true });
  await mkdir(dir, { recursive: true });
  for (const entry of await readdir(dir, { withFileTypes: true })) {
    const kind = entry.isFile() ? "file" : entry.isDirectory() ? "directory" : "other";
    if (!keep(entry.name, kind)) await rm(join(dir, entry.name), { recursive: true, force: true });
  }
}

/** Through a rename: a reader, and whoever starts after a power cut, sees the old or the new content. */
async function replace(dir: string, name: string, content: string): Promise<void> {
  const temporary = join(dir, `tmp_${randomUUID()}`);
  await writeFile(temporary, content, { flag: "wx" });
  await rename(temporary, join(dir, name));
}

async function readLines(path: string): Promise<string[]> {
  try {
    return (await readFile(path, "utf8")).split("\n");
  } catch {
    return [];
  }
}
