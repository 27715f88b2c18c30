/** Sources of one file that has to have a good signature beside it, whatever kind of source it is. */
import { createHash } from "node:crypto";
import {
  type Adapter,
  type Body,
  type Entry,
  type FileEntry,
  type OptionSpecs,
  type Signer,
  type Source,
  SourceError,
} from "@pannier/core/adapter";
import { FILE_SIGNATURES, openFileChecks, type ReadBeside } from "./file-check.ts";

/**
 * An adapter whose sources are checked where somebody has to have signed them: a source of one file, by what lies beside the
 * file. Anything else is refused.
 */
export function checkableFiles<Specs extends OptionSpecs>(adapter: Adapter<Specs>): Adapter<Specs> {
  return {
    ...adapter,
    signatures: FILE_SIGNATURES,
    async open(location, options, context) {
      const source = await adapter.open(location, options, context);
      const { signers = [] } = context;
      if (signers.length === 0) return source;
      const readBeside = (signal: AbortSignal): ReadBeside => {
        return async (ending, most) => {
          const pathname = location.pathname + ending;
          const beside = await adapter.open({ ...location, pathname }, options, context);
          try {
            return await readOnly(beside, most, signal);
          } catch (error) {
            if (error instanceof SourceError && error.code === "not-found") return undefined;
            throw error;
          } finally {
            await beside.close();
          }
        };
      };
      return signedFile(source, readBeside, signers);
    },
  };
}

/**
 * A source of one file, which is listed once its signature was found to be good: with the digest of what was signed, so that
 * nothing else is published.
 */
export function signedFile(
  source: Source,
  readBeside: (signal: AbortSignal) => ReadBeside,
  signers: readonly Signer[],
): Source {
  return {
    probe: (signal, known) => source.probe(signal, known),
    async list(signal, scope) {
      const listing = await source.list(signal, scope);
      const entry = await onlyFile(listing.entries);
      const check = await openFileChecks(readBeside(signal), signers);
      const sum = createHash("sha256");
      for await (const chunk of chunksOf(await source.read(entry, undefined, signal))) {
        check.update(chunk);
        sum.update(chunk);
      }
      const signature = check.finish();
      const value = sum.digest("hex");
      const digest = { algorithm: "sha256", value } as const;
      // What was published before anybody had to sign may look the same, and be other content.
      const fingerprint = `${entry.fingerprint}${MARK}${value}`;
      return { ...listing, entries: [[{ ...entry, fingerprint, digest }]], signature };
    },
    read: (entry, range, signal) => source.read(withoutMark(entry), range, signal),
    version: (entry) => source.version?.(withoutMark(entry)),
    identity: async (signal) => (await source.identity?.(signal)) ?? "",
    published: async (signal) => source.published?.(signal),
    get ranges() {
      return source.ranges;
    },
    get contentAddressed() {
      return source.contentAddressed;
    },
    get concurrency() {
      return source.concurrency;
    },
    close: () => source.close(),
  };
}

/** Stands between a fingerprint of the source's own and the digest of what was signed. */
const MARK = " signed ";

function withoutMark(entry: FileEntry): FileEntry {
  const [fingerprint = ""] = entry.fingerprint.split(MARK, 1);
  return { ...entry, fingerprint };
}

/** What the only file of a source holds; of a long one as much as is asked for. */
async function readOnly(source: Source, most: number, signal: AbortSignal): Promise<Uint8Array> {
  const { entries } = await source.list(signal);
  const entry = await onlyFile(entries);
  const chunks: Uint8Array[] = [];
  let size = 0;
  for await (const chunk of chunksOf(await source.read(entry, undefined, signal))) {
    chunks.push(Buffer.from(chunk));
    size += chunk.byteLength;
    if (size >= most) break;
  }
  return Buffer.concat(chunks);
}

/** @throws SourceError where it is not one file */
async function onlyFile(
  batches: AsyncIterable<readonly Entry[]> | Iterable<readonly Entry[]>,
): Promise<FileEntry> {
  let only: Entry | undefined;
  for await (const batch of batches)
    for (const entry of batch) {
      if (only !== undefined || entry.kind !== "file" || entry.path.includes("/"))
        throw new SourceError("unsupported", "only one file can have its signature beside it", {
          hint: "name one file, or an archive on a web server",
        });
      only = entry;
    }
  if (only?.kind === "file") return only;
  throw new SourceError("not-found", "there is no file");
}

async function* chunksOf(body: Body): AsyncGenerator<Uint8Array> {
  if (body instanceof Uint8Array) yield body;
  else yield* body;
}
