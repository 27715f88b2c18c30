/** Takes a layer whole: its content goes to scratch files, what it holds to the table. */
import { createHash } from "node:crypto";
import {
  type Content,
  contentOf,
  type createMeter,
  createExpansionGuard,
  decompress,
  formatOf,
  guarded,
  peek,
  readTar,
  type Scratch,
  segmentsOf,
} from "@pannier/archive";
import { type Limits, SourceError } from "@pannier/core/adapter";
import { readToc, type TocRange, tocRange } from "@pannier/oci";
import type { Layer } from "./image.ts";
import {
  fileRow,
  linkRow,
  markRow,
  missingTarget,
  destinationOf,
  refusedRow,
  rowsOfToc,
} from "./members.ts";
import type { Row } from "./table/rows.ts";

export interface UnpackInit {
  readonly layer: Layer;
  /** Its bytes, which are checked by their reader. */
  readonly fetch: () => Promise<AsyncIterable<Uint8Array>>;
  readonly root: string;
  readonly limits: Limits;
  /** Counts what is unpacked over all layers. */
  readonly meter: Pick<ReturnType<typeof createMeter>, "count" | "measure" | "tooLarge">;
  readonly scratch: Scratch;
  /** What names in the scratch begin with: many layers lie in one. */
  readonly prefix: string;
  readonly signal: AbortSignal;
}

/** Entries of an archive at most that are held to be compared with a table of contents: more than one can have. */
const MAX_COMPARED = 100_000;

/**
 * Unpacks a layer. Where it has a table of contents, that is what counts, and has to tell what is there.
 *
 * @param add takes the rows, in any order
 */
export async function unpackLayer(init: UnpackInit, add: (row: Row) => void): Promise<void> {
  const { layer, limits, signal } = init;
  const range = tocRange(layer.blob);
  const toc = makeCapture(range);
  const blob = await init.fetch();
  const guard = createExpansionGuard("a layer", limits.maxExpansion);
  const whole = tracked(toc.pass(guard.archived(blob)));
  try {
    const { head, bytes } = await peek(whole.bytes);
    const format = formatOf(head);
    if (format === undefined || format === "zip") {
      throw new SourceError("invalid", "a layer is not the tar archive that its type says");
    }
    const tar = guard.unpacked(await decompress(format, bytes));
    if (range === undefined) {
      await readMembers(init, guarded(tar, signal), guard.grew, add);
      await whole.end();
      return;
    }
    const found = new Map<string, Row>();
    await readMembers(init, guarded(tar, signal), guard.grew, (row) => {
      if (found.size > MAX_COMPARED) throw lies("there is far more in it");
      found.set(
        row.kind === "whiteout" || row.kind === "opaque" ? `${row.kind}\0${row.path}` : row.path,
        row,
      );
    });
    await whole.end();
    const rows = rowsOfToc(await readToc(toc.bytes(), range), init.root, layer.whiteouts);
    compare(rows, found);
    for (const row of rows.values()) add(row);
  } finally {
    await whole.close();
  }
}

async function readMembers(
  { layer, root, meter, scratch, prefix }: UnpackInit,
  tar: AsyncIterable<Uint8Array>,
  grew: (bytes: number) => void,
  add: (row: Row) => void,
): Promise<void> {
  /** Files that are larger than one may be: they are not kept. */
  const large = new Map<string, Content>();
  for await (const member of readTar(tar)) {
    meter.count();
    const destination = destinationOf(member.name, root, layer.whiteouts);
    const target = member.kind === "hardlink" ? segmentsOf(member.target).join("/") : "";
    if (destination.kind === "none" || (destination.kind === "member" && destination.path === ""))
      continue;
    const { path } = destination;
    if (destination.kind === "refused") {
      if (member.kind !== "directory") add(refusedRow(path, destination.why));
      continue;
    }
    if (destination.kind !== "member") {
      add(markRow(destination.kind, path));
      continue;
    }
    const { mtime } = member;
    switch (member.kind) {
      case "file": {
        const { size, mode } = member;
        const facts = { mode, mtime };
        if (meter.tooLarge(size, member.name) !== undefined) {
          // The engine refuses it, where it is wanted.
          const sha256 = await hashOf(member.content);
          large.set(path, { size, sha256 });
          add(fileRow(path, { size, sha256, ...facts }));
          break;
        }
        meter.measure(size, member.name);
        const written = await scratch.put(prefix + path, size, await contentOf(member), facts);
        add(fileRow(path, { ...written, ...facts }));
        break;
      }
      case "hardlink": {
        const size = scratch.sizeOf(prefix + target);
        if (size === undefined) {
          const known = large.get(target);
          const { mode } = member;
          add(
            known === undefined
              ? refusedRow(path, missingTarget(member.target))
              : fileRow(path, { ...known, mode, mtime }),
          );
          break;
        }
        meter.measure(size, member.name);
        grew(size);
        const facts = { mode: member.mode, mtime };
        const written = await scratch.copy(prefix + target, prefix + path, facts);
        add(fileRow(path, { ...written, ...facts }));
        break;
      }
      case "symlink":
        add(linkRow(path, member.target, mtime));
        break;
      case "directory":
        add(markRow("dir", path));
        break;
      case "special":
        add(refusedRow(path, member.failure));
    }
  }
}

async function hashOf(content: AsyncIterable<Uint8Array>): Promise<string> {
  const hash = createHash("sha256");
  for await (const chunk of content) hash.update(chunk);
  return hash.digest("hex");
}

/** What a table says and what is there: a reader of files and a reader of layers must find the same. */
function compare(told: ReadonlyMap<string, Row>, found: ReadonlyMap<string, Row>): void {
  for (const [key, row] of told) {
    const other = found.get(key);
    const same =
      other !== undefined &&
      row.kind === other.kind &&
      row.size === other.size &&
      row.sha256 === other.sha256 &&
      (row.target === other.target || row.kind === "refused") &&
      row.mode === other.mode;
    if (!same) throw lies(`it describes ${JSON.stringify(row.path)} wrongly`);
  }
  for (const [key, row] of found) {
    if (!told.has(key)) throw lies(`it does not list ${JSON.stringify(row.path)}`);
  }
}

function lies(why: string): SourceError {
  return new SourceError("invalid", `the table of contents of a layer cannot be trusted: ${why}`, {
    hint: "nothing of it is used",
  });
}

/** Keeps the bytes of the table of contents while they pass. */
function makeCapture(range: TocRange | undefined) {
  const parts: Uint8Array[] = [];
  return {
    async *pass(bytes: AsyncIterable<Uint8Array>): AsyncGenerator<Uint8Array> {
      let at = 0;
      for await (const chunk of bytes) {
        if (range !== undefined) {
          const from = Math.max(0, range.offset - at);
          const part = chunk.subarray(from, Math.max(from, range.offset + range.length - at));
          if (part.byteLength > 0) parts.push(Buffer.from(part));
          at += chunk.byteLength;
        }
        yield chunk;
      }
    },
    bytes: () => Buffer.concat(parts),
  };
}

/** A decompressor may stop before the end; only there the blob's digest is looked at. */
function tracked(bytes: AsyncIterable<Uint8Array>) {
  const iterator = bytes[Symbol.asyncIterator]();
  const next = () => iterator.next();
  return {
    /** Leaves the bytes open for `end` when its reader stops. */
    bytes: {
      [Symbol.asyncIterator]: () => ({
        next,
        return: async () => ({ done: true, value: undefined }) as const,
      }),
    } as AsyncIterable<Uint8Array>,
    async end() {
      while ((await next()).done !== true);
    },
    async close() {
      await iterator.return?.(undefined);
    },
  };
}
