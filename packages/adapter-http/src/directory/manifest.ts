/** Manifests: a directory's files with their digests, as `sha256sum` writes them or as JSON. */
import { type FileEntry, SourceError } from "@pannier/core/adapter";
import { parseChecksumLine } from "@pannier/http-content";
import { linesOf, textOf } from "../lines.ts";
import { jsonObjects } from "./json-objects.ts";

/** What `manifest=auto` looks for, in this order. */
export const MANIFEST_NAMES = ["SHA256SUMS", "pannier-manifest.json"];

const ENVELOPE = { opening: /^\s*\{\s*"files"\s*:\s*\[/, closing: /^\s*\]\s*\}\s*$/ };

/**
 * The entries of a manifest, in batches.
 *
 * @param name of the manifest: `….json` is JSON, all else lines; a line for the manifest itself is left out
 * @throws SourceError `invalid` when anything in it is not understood, or leads out of the directory
 */
export async function* readManifest(
  name: string,
  body: AsyncIterable<Uint8Array>,
): AsyncGenerator<FileEntry[]> {
  const batches = name.endsWith(".json") ? readJson(body) : readSums(body);
  for await (const batch of batches) yield batch.filter((entry) => entry.path !== name);
}

async function* readSums(body: AsyncIterable<Uint8Array>): AsyncGenerator<FileEntry[]> {
  let batch: FileEntry[] = [];
  let number = 0;
  for await (const line of linesOf(body)) {
    number++;
    if (line.trim() === "" || line.startsWith("#")) continue;
    const parsed = parseChecksumLine(line);
    if (parsed?.algorithm !== "sha256") {
      throw new SourceError("invalid", `line ${number} of the manifest is not a SHA-256 checksum`);
    }
    batch.push(makeEntry(parsed.name, parsed.hex));
    if (batch.length === 500) {
      yield batch;
      batch = [];
    }
  }
  yield batch;
}

async function* readJson(body: AsyncIterable<Uint8Array>): AsyncGenerator<FileEntry[]> {
  for await (const objects of jsonObjects(textOf(body), ENVELOPE)) yield objects.map(entryOf);
}

/** One element of `files`: `{"path", "size", "sha256", "mtime"?, "mode"?}`. */
function entryOf(object: Record<string, unknown>): FileEntry {
  const { path, size, sha256, mtime, mode, ...others } = object;
  const wrong = (member: string) =>
    new SourceError("invalid", `the manifest has a wrong "${member}" for ${JSON.stringify(path)}`);
  const unknown = Object.keys(others)[0];
  if (unknown !== undefined) throw wrong(unknown);
  if (typeof path !== "string") throw wrong("path");
  if (typeof sha256 !== "string" || !/^[0-9a-f]{64}$/i.test(sha256)) throw wrong("sha256");
  if (!Number.isSafeInteger(size) || (size as number) < 0) throw wrong("size");
  const time = mtime === undefined ? undefined : Date.parse(String(mtime));
  if (Number.isNaN(time)) throw wrong("mtime");
  if (mode !== undefined && !/^0?[0-7]{3}$/.test(String(mode))) throw wrong("mode");
  return {
    ...makeEntry(path, sha256.toLowerCase()),
    size: size as number,
    mtime: time,
    mode: mode === undefined ? undefined : Number.parseInt(String(mode), 8),
  };
}

function makeEntry(name: string, sha256: string): FileEntry {
  // `find . -type f` writes names so.
  const path = name.replace(/^(\.\/+)+/, "");
  if (
    path.startsWith("/") ||
    path.split("/").some((segment) => ["", ".", ".."].includes(segment))
  ) {
    throw new SourceError(
      "invalid",
      `the manifest holds ${JSON.stringify(name)}, which leads out of its directory`,
      { hint: "nothing of it is used" },
    );
  }
  return {
    kind: "file",
    path,
    fingerprint: `sha256:${sha256}`,
    digest: { algorithm: "sha256", value: sha256 },
  };
}
