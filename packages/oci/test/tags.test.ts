/** Tags of a layout that many push at the same time. */
import { createHash } from "node:crypto";
import { mkdtemp, readdir, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { buffer } from "node:stream/consumers";
import { setTimeout as sleep } from "node:timers/promises";
import { type Folder, SourceError } from "@pannier/core/adapter";
import { expect, onTestFinished, test } from "vitest";
import { openFolderLayout } from "../src/folder-layout.ts";
import { openLayout } from "../src/layout.ts";
import type { Reference } from "../src/reference.ts";
import type { ImageStore } from "../src/store.ts";

const { signal } = new AbortController();
const TAGS = Array.from({ length: 12 }, (_, i) => `tag-${String(i).padStart(2, "0")}`);
const MEDIA_TYPE = "application/vnd.oci.image.manifest.v1+json";

/** Each of them by a store of its own, as if by another process. */
async function pushAll(open: () => ImageStore): Promise<readonly string[]> {
  await Promise.all(
    TAGS.map((tag) => {
      const manifest = { bytes: Buffer.from(JSON.stringify({ tag })), mediaType: MEDIA_TYPE };
      return open().putManifest(tag, manifest, signal);
    }),
  );
  return (await open().tags(signal)).toSorted();
}

function versionOf(content: Buffer | undefined): string | undefined {
  return content && createHash("sha256").update(content).digest("hex");
}

/** A bucket that looks at conditions, and takes its time. */
function bucket(): Folder {
  const files = new Map<string, Buffer>();
  return {
    async read(path) {
      const content = files.get(path);
      await sleep(Math.random() * 10);
      if (content === undefined) throw new SourceError("not-found", path);
      const version = versionOf(content);
      return {
        content: (async function* () {
          yield content;
        })(),
        version,
        fresh: false,
      };
    },
    size: async (path) => files.get(path)?.byteLength,
    async write(path, { content, replaces }) {
      const bytes = await buffer(content());
      await sleep(Math.random() * 10);
      if (replaces !== undefined && replaces.version !== versionOf(files.get(path)))
        throw new SourceError("changed", `${path} is another one by now`, { transient: true });
      files.set(path, bytes);
    },
    identity: async () => undefined,
    close: async () => {},
  };
}

test("all of them are in a layout on this machine", async () => {
  const repository = await mkdtemp(join(tmpdir(), "pannier-tags-"));
  onTestFinished(() => rm(repository, { recursive: true }));
  const reference = { repository } as Reference;
  expect(await pushAll(() => openLayout({ reference }))).toEqual(TAGS);
  expect((await readdir(repository)).toSorted()).toEqual([
    "blobs",
    "index.json",
    "index.json.lock",
    "oci-layout",
  ]);
});

test("all of them are in a layout in a bucket, however many others were quicker", async () => {
  const folder = bucket();
  expect(await pushAll(() => openFolderLayout(folder, {} as Reference))).toEqual(TAGS);
});
