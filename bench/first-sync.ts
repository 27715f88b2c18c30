/** First syncs: the same content from nothing, again and again, beside what else can fetch it. */
import { randomBytes } from "node:crypto";
import { existsSync } from "node:fs";
import { mkdir, readdir, realpath, rm } from "node:fs/promises";
import { join } from "node:path";
import { type Command, compete } from "./measure.ts";
import { onVolumes } from "./volumes.ts";

const ROUNDS = Number(process.env["PANNIER_BENCH_ROUNDS"] ?? 5);

export interface Tool {
  readonly name: string;
  /** Brings everything below a directory that is there, and empty. */
  readonly command: (target: string) => Command;
}

interface FirstSyncs {
  /** Pannier's. */
  readonly ours: readonly Tool[];
  readonly peers: readonly Tool[];
  /** How many files each has to bring. */
  readonly files: number;
  readonly rounds?: number;
}

export function firstSyncs({ ours, peers, files, rounds = ROUNDS }: FirstSyncs): Promise<string> {
  return onVolumes(ours.length, (directory) => {
    const target = join(directory, "target");
    return compete(
      [...ours, ...peers].map(({ name, command }) => ({
        name,
        command: command(target),
        prepare: async () => {
          await rm(target, { recursive: true, force: true });
          await mkdir(target);
        },
        check: () => expectFiles(target, files),
      })),
      rounds,
    );
  });
}

/** Of what Pannier has, the published tree counts; of a clone, what is checked out. */
async function expectFiles(target: string, count: number): Promise<void> {
  const published = join(target, "current");
  const root = existsSync(published) ? await realpath(published) : target;
  const entries = await readdir(root, { recursive: true, withFileTypes: true });
  const found = entries.filter(
    (entry) =>
      entry.isFile() &&
      entry.name !== ".git" &&
      !`${entry.parentPath}/`.startsWith(`${root}/.git/`),
  );
  if (found.length !== count)
    throw new Error(`${root} has ${found.length} files instead of ${count}`);
}

/** Contents of 1 to 17 KiB, by their paths in so many directories. */
export function* smallFiles(
  count: number,
  directories: number,
): Generator<readonly [path: string, content: Uint8Array]> {
  for (let index = 0; index < count; index++) {
    const directory = String(index % directories).padStart(2, "0");
    const content = randomBytes(1024 + ((index * 7919) % 16_384));
    yield [`dir-${directory}/file-${index}.bin`, content];
  }
}

/** Puts all of them on a server, many at a time. */
export async function putAll(
  files: Generator<readonly [path: string, content: Uint8Array]>,
  put: (path: string, content: Uint8Array) => void | Promise<void>,
): Promise<void> {
  const worker = async () => {
    for (const [path, content] of files) await put(path, content);
  };
  await Promise.all(Array.from({ length: 16 }, worker));
}
