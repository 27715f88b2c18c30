/**
 * Reads tar archives while their bytes come in.
 *
 * Why not a library: where an archive ends is what tells a whole one from one that was cut, and the libraries looked at
 * (tar-stream, tar) read on behind the end marker, and take an archive without one for whole.
 */
import { SourceError } from "@pannier/core/adapter";
import { type Member, refuseKind } from "./member.ts";
import { createBlockReader, type BlockReader } from "./tar-blocks.ts";
import {
  damaged,
  isHeader,
  isZero,
  parseHeader,
  parsePax,
  type PaxValues,
  type TarHeader,
} from "./tar-header.ts";

/** Bytes of one pax header or long name. */
const MAX_EXTENSION = 4 << 20;
/** Contents of up to this size are handed over in one piece. */
const WHOLE = 256 * 1024;
/** Headers in a row that only describe the next member. */
const MAX_EXTENSIONS = 64;
/** Bytes that may follow the end marker: writers fill up to the size of a tape's record. */
const MAX_PADDING = 64 << 20;

/** The members in their order. Ends where the end marker is and the bytes end too; fails where either is missing. */
export async function* readTar(bytes: AsyncIterable<Uint8Array>): AsyncGenerator<Member> {
  const blocks = createBlockReader(bytes);
  try {
    let global: PaxValues = new Map();
    for (;;) {
      const described = await readHeader(blocks, global);
      if (described === undefined) break;
      global = described.global;
      const { header, pax } = described;
      if (header.type === VOLUME_LABEL) continue;
      const member = memberOf(header, pax, blocks);
      blocks.expect(hasContent(header) ? header.size : 0);
      yield member;
    }
    await readRest(blocks);
  } finally {
    await blocks.close();
  }
}

const VOLUME_LABEL = "V";

interface Described {
  readonly header: TarHeader;
  readonly pax: PaxValues;
  /** What the global headers so far set. */
  readonly global: PaxValues;
}

/** The next member's header with all that describes it; `undefined` at the end marker. */
async function readHeader(blocks: BlockReader, globals: PaxValues): Promise<Described | undefined> {
  let global = globals;
  let own: PaxValues = new Map();
  let longName: string | undefined;
  let longLink: string | undefined;
  for (let count = 0; ; count++) {
    if (count > MAX_EXTENSIONS) throw damaged("too many headers describe one member");
    const next = blocks.block();
    const block = next instanceof Promise ? await next : next;
    if (isZero(block)) {
      if (count > 0) throw damaged("it ends behind a header that describes a member");
      if (!isZero(await blocks.block())) throw damaged("a block of zeros is not its end");
      return undefined;
    }
    const header = parseHeader(block);
    switch (header.type) {
      case "x":
        own = parsePax(await extension(blocks, header));
        break;
      case "g":
        global = new Map([...global, ...parsePax(await extension(blocks, header))]);
        break;
      case "L":
        longName = upToNul(await extension(blocks, header));
        break;
      case "K":
        longLink = upToNul(await extension(blocks, header));
        break;
      default: {
        const pax = new Map([...global, ...own]);
        const size = pax.get("size") || undefined;
        if (size !== undefined && !/^\d{1,15}$/.test(size)) throw damaged("a size is not valid");
        return {
          global,
          pax,
          header: {
            ...header,
            name: pax.get("path") || longName || header.name,
            linkname: pax.get("linkpath") || longLink || header.linkname,
            size: size === undefined ? header.size : Number(size),
          },
        };
      }
    }
  }
}

async function extension(blocks: BlockReader, { size }: TarHeader): Promise<Buffer> {
  if (size > MAX_EXTENSION) {
    throw new SourceError(
      "invalid",
      `the archive has a header of more than ${MAX_EXTENSION} bytes`,
    );
  }
  blocks.expect(size);
  return blocks.whole();
}

function upToNul(text: Buffer): string {
  const end = text.indexOf(0);
  return text.toString("utf8", 0, end === -1 ? text.byteLength : end);
}

/** Whether what the size counts follows the header: that of links, directories and devices tells something else, if anything. */
function hasContent({ type }: TarHeader): boolean {
  return !"123456".includes(type);
}

/** Reads what follows the end marker, so that a checksum of the whole is looked at, too. */
async function readRest(blocks: BlockReader): Promise<void> {
  let padding = 0;
  let looked = false;
  for (;;) {
    const block = await blocks.rest();
    if (block === undefined) return;
    padding += block.byteLength;
    if (padding > MAX_PADDING) {
      throw new SourceError(
        "invalid",
        `more than ${MAX_PADDING} bytes follow the end of the archive`,
      );
    }
    if (looked || isZero(block)) continue;
    looked = true;
    if (isHeader(block)) {
      throw new SourceError("invalid", "a second archive follows the end of the first", {
        hint: "offer them one by one, or pack them into one",
      });
    }
  }
}

function memberOf(header: TarHeader, pax: PaxValues, blocks: BlockReader): Member {
  const { name, type, size, mode, linkname } = header;
  // pax has fractions of seconds.
  const seconds = Number(pax.get("mtime") || Number.NaN);
  const mtime = (Number.isFinite(seconds) ? seconds : header.mtime) * 1000;
  const special = (failure: SourceError): Member => ({ kind: "special", name, mtime, failure });
  if (type === "S" || [...pax.keys()].some((key) => key.startsWith("GNU.sparse."))) {
    const sparse = pax.get("GNU.sparse.name") ?? name;
    const failure = unsupported(sparse, "a sparse file", {
      hint: "pack it without sparse files: tar without -S",
    });
    return { kind: "special", name: sparse, mtime, failure };
  }
  switch (type) {
    case "0":
    case "\0":
    case "7":
      // How directories were marked before there was a type for them.
      if (name.endsWith("/")) return { kind: "directory", name, mtime };
      return {
        kind: "file",
        name,
        mtime,
        mode,
        size,
        content: blocks.content(),
        whole: size <= WHOLE ? () => blocks.whole() : undefined,
      };
    case "1":
      return { kind: "hardlink", name, mtime, mode, target: linkname };
    case "2":
      return { kind: "symlink", name, mtime, target: linkname };
    case "3":
      return special(refuseKind(name, "character device"));
    case "4":
      return special(refuseKind(name, "block device"));
    case "5":
      return { kind: "directory", name, mtime };
    case "6":
      return special(refuseKind(name, "FIFO"));
    case "M":
      return special(unsupported(name, "the rest of a file whose beginning is in another volume"));
    default:
      return special(unsupported(name, `of a type that is not known (${JSON.stringify(type)})`));
  }
}

function unsupported(name: string, what: string, options?: { hint: string }): SourceError {
  return new SourceError(
    "unsupported",
    `the archive holds ${JSON.stringify(name)}, ${what}`,
    options,
  );
}
