/** Trees as they would be published, for tests that push them. */
import { createHash } from "node:crypto";
import { mkdir, mkdtemp, rm, symlink, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import type { StoreFile } from "@pannier/adapter-kit";
import {
  type Adapter,
  comparePaths,
  parseLocation,
  type PublishedEntry,
  resolveFolder,
} from "@pannier/core";
import { openStore, referenceOf } from "@pannier/oci";
import { pushTree } from "../src/push.ts";

/** Pushes files as a published tree. */
export async function pushFiles(
  files: ReadonlyMap<string, StoreFile>,
  url: string,
  {
    layers,
    revision = "revision",
    meanwhile,
    adapters = [],
    attempts = 1,
  }: {
    layers?: number | undefined;
    revision?: string;
    /** What becomes of the tree after it was published. */
    meanwhile?: (tree: string) => Promise<void>;
    /** Those that reach the folder of a layout. */
    adapters?: readonly Adapter[];
    attempts?: number;
  } = {},
) {
  const path = await mkdtemp(join(tmpdir(), "pannier-tree-"));
  const location = parseLocation(url);
  const reference = referenceOf(location);
  const init = { credentials: {}, idleTimeout: 30_000 };
  const store = await openStore({
    location,
    reference,
    actions: "pull,push",
    ...init,
    env: {},
    folder: (pathname) =>
      resolveFolder(location, "oci+", adapters).open(pathname, { ...init, request() {} }),
  });
  try {
    const entries: PublishedEntry[] = [];
    for (const [name, file] of [...files].toSorted(([a], [b]) => comparePaths(a, b))) {
      await mkdir(dirname(join(path, name)), { recursive: true });
      if (file.kind === "symlink") {
        await symlink(file.target, join(path, name));
        entries.push({ kind: "symlink", path: name, target: file.target });
        continue;
      }
      await writeFile(join(path, name), file.content);
      const sha256 = createHash("sha256").update(file.content).digest("hex");
      const mode = file.mode ?? 0o644;
      entries.push({ kind: "file", path: name, size: file.content.byteLength, mode, sha256 });
    }
    await meanwhile?.(path);
    const tree = {
      id: 1,
      revision,
      path,
      sources: ["file:///site"],
      entries: () => entries.values() as Generator<PublishedEntry>,
    };
    const { signal } = new AbortController();
    return await pushTree(tree, store, reference.tag, { layers, attempts, signal });
  } finally {
    await store.close();
    await rm(path, { recursive: true, force: true });
  }
}

export function filesOf(
  contents: Readonly<Record<string, string | Uint8Array>>,
): Map<string, StoreFile> {
  return new Map(
    Object.entries(contents).map(([path, content]) => [
      path,
      { kind: "file", content: Buffer.from(content) },
    ]),
  );
}
