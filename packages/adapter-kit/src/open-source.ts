/** Opens a source in a test as the engine would. */
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type {
  Body,
  ByteRange,
  Entry,
  FileEntry,
  Listing,
  Scope,
  Source,
  SourceContext,
  SourceSpec,
} from "@pannier/core/adapter";

/** A source opened for a test, and what it told its context. */
export interface OpenedSource {
  readonly source: Source;
  /** Operations counted by `context.request`, in order. */
  readonly requests: readonly string[];
  readonly warnings: readonly string[];
  /** Closes the source and removes its scratch directory. */
  close(): Promise<void>;
}

/**
 * Opens a source with a context of its own: no limits, no credentials, an idle timeout of 15 s, and a temporary scratch
 * directory.
 *
 * @param spec as `resolveSource` or an adapter package's own function (`git(url)`) gives it
 * @param overrides members of the context to replace
 */
export async function openSource(
  spec: SourceSpec,
  overrides: Partial<SourceContext> = {},
): Promise<OpenedSource> {
  const requests: string[] = [];
  const warnings: string[] = [];
  let scratch: Promise<string> | undefined;
  const removeScratch = async () => {
    if (scratch !== undefined) await rm(await scratch, { recursive: true, force: true });
  };
  const context: SourceContext = {
    credentials: {},
    limits: {
      maxFiles: Infinity,
      maxBytes: Infinity,
      maxFileBytes: Infinity,
      maxExpansion: Infinity,
    },
    idleTimeout: 15_000,
    scratch: () => (scratch ??= mkdtemp(join(tmpdir(), "pannier-scratch-"))),
    warn: (message) => warnings.push(message),
    // Once: what an adapter itself repeats would show.
    retry: (work) => work(),
    request: (operation) => requests.push(operation),
    ...overrides,
  };
  try {
    const source = await spec.adapter.open(spec.location, spec.options as never, context);
    return {
      source,
      requests,
      warnings,
      async close() {
        await source.close();
        await removeScratch();
      },
    };
  } catch (error) {
    await removeScratch();
    throw error;
  }
}

/** A whole listing, by path. */
export interface Listed {
  readonly listing: Listing;
  readonly entries: ReadonlyMap<string, Entry>;
  /** Paths in the order they came in, with any duplicates. */
  readonly paths: readonly string[];
  /** The name of the revision, if the source gave one. */
  readonly revision: string | undefined;
  /** @throws an error if there is no such file */
  file(path: string): FileEntry;
}

/** Lists a source to the end. @param scope what of it is wanted; by default everything */
export async function listAll(
  source: Source,
  signal: AbortSignal = new AbortController().signal,
  scope?: Scope,
): Promise<Listed> {
  const listing = await source.list(signal, scope);
  const entries = new Map<string, Entry>();
  const paths: string[] = [];
  for await (const batch of listing.entries) {
    for (const entry of batch) {
      entries.set(entry.path, entry);
      paths.push(entry.path);
    }
  }
  return {
    listing,
    entries,
    paths,
    revision: typeof listing.revision === "function" ? listing.revision() : listing.revision,
    file(path) {
      const entry = entries.get(path);
      if (entry?.kind !== "file") throw new Error(`no file ${JSON.stringify(path)} was listed`);
      return entry;
    },
  };
}

/** Reads a file, or a part of it, to the end. */
export async function readAll(
  source: Source,
  entry: FileEntry,
  range?: ByteRange,
  signal: AbortSignal = new AbortController().signal,
): Promise<Buffer> {
  return collect(await source.read(entry, range, signal));
}

async function collect(body: Body): Promise<Buffer> {
  if (body instanceof Uint8Array) return Buffer.from(body);
  const chunks: Uint8Array[] = [];
  // Copied: an adapter may use the memory of a chunk for the next one.
  for await (const chunk of body) chunks.push(Buffer.from(chunk));
  return Buffer.concat(chunks);
}
