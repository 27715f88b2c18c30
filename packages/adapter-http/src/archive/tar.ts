/** Reads tar archives: ustar, pax, GNU and the older forms. */
import { SourceError } from "@pannier/core";
import type { Header } from "tar-stream";
import { guarded } from "../errors.ts";
import { type Member, refuseKind } from "./member.ts";

const BLOCK = 512;

/** The members in their order, while the bytes come in. */
export async function* readTar(
  bytes: AsyncIterable<Uint8Array>,
  signal: AbortSignal,
): AsyncGenerator<Member> {
  const { extract } = await import("tar-stream");
  const archive = extract();
  let failure: { readonly error: unknown } | undefined;
  // An entry whose archive failed before anybody read it knows only that it was destroyed.
  async function* contentOf(entry: AsyncIterable<Uint8Array>) {
    try {
      yield* entry;
    } catch (error) {
      throw failure === undefined ? error : failure.error;
    }
  }
  void feed(bytes, archive, (error) => (failure = { error }));
  try {
    for await (const entry of archive) {
      const content = contentOf(entry as AsyncIterable<Uint8Array>);
      yield memberOf(entry.header, guarded(content, signal));
      entry.resume();
    }
  } finally {
    archive.destroy();
  }
}

/** Never fails: what goes wrong destroys the archive, whose reader then gets it. */
async function feed(
  bytes: AsyncIterable<Uint8Array>,
  archive: ReturnType<typeof import("tar-stream").extract>,
  onFailure: (error: unknown) => void,
): Promise<void> {
  const tail = Buffer.alloc(BLOCK, 1);
  let ended = false;
  let wake: (() => void) | undefined;
  archive.on("drain", () => wake?.());
  archive.on("close", () => {
    ended = true;
    wake?.();
  });
  try {
    for await (const chunk of bytes) {
      keepTail(tail, chunk);
      if (ended) return;
      if (!archive.write(Buffer.from(chunk.buffer, chunk.byteOffset, chunk.byteLength))) {
        await new Promise<void>((resolve) => {
          wake = resolve;
        });
      }
    }
    // Every tar archive ends with blocks of zeros; the library does not mind if they are missing.
    if (tail.some((byte) => byte !== 0)) {
      throw new SourceError("invalid", "the archive was cut short");
    }
    archive.end(null);
  } catch (error) {
    onFailure(error);
    archive.destroy(error as Error);
  }
}

function keepTail(tail: Buffer, chunk: Uint8Array): void {
  const kept = Math.max(0, BLOCK - chunk.byteLength);
  tail.copyWithin(0, BLOCK - kept);
  tail.set(chunk.subarray(Math.max(0, chunk.byteLength - BLOCK)), kept);
}

function memberOf(header: Header, content: AsyncIterable<Uint8Array>): Member {
  const { name, type, size, mode, linkname } = header;
  const pax = (header.pax ?? {}) as Readonly<Record<string, string>>;
  // pax has fractions of seconds.
  const seconds = Number(pax["mtime"] ?? Number.NaN);
  const mtime = Number.isFinite(seconds) ? seconds * 1000 : header.mtime.getTime();
  if (Object.keys(pax).some((key) => key.startsWith("GNU.sparse."))) {
    throw unsupported(name, "a sparse file");
  }
  switch (type) {
    case "file":
    case "contiguous-file":
      // How directories were marked before there was a type for them; the library looks too late.
      if (name.endsWith("/")) return { kind: "directory", name, mtime };
      return { kind: "file", name, mtime, mode, size, content };
    case "link":
      return { kind: "hardlink", name, mtime, mode, target: linkname ?? "" };
    case "symlink":
      return { kind: "symlink", name, mtime, target: linkname ?? "" };
    case "directory":
      return { kind: "directory", name, mtime };
    case "character-device":
    case "block-device":
    case "fifo":
      throw refuseKind(name, type.replace("-", " "));
    default:
      throw unsupported(name, "of a kind that is not known");
  }
}

function unsupported(name: string, what: string): SourceError {
  return new SourceError("unsupported", `the archive holds ${JSON.stringify(name)}, ${what}`);
}
