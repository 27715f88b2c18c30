/** From the members of an archive to entries: names checked, `strip` and `path` applied, limits kept. */
import { type Limits, NoRoomError, SourceError } from "@pannier/core/adapter";
import { limitError } from "./errors.ts";
import { contentOf, type Member, segmentsOf, unreadable } from "./member.ts";
import { createScratch } from "./scratch.ts";
import type { Unpacked } from "./unpacked.ts";

export interface UnpackInit {
  /** Empty directory to unpack into. */
  readonly folder: string;
  /** Leading directories to take off. */
  readonly strip: number;
  /** Segments of the directory that becomes the root, counted after `strip`. */
  readonly path: readonly string[];
  readonly limits: Limits;
  /** Told of bytes that are written but did not come out of the archive's stream; throws where they are too many. */
  readonly grew: (bytes: number) => void;
}

/**
 * Unpacks everything below `path`. What of it cannot be published is noted, and an error once it is listed: it may not be wanted.
 *
 * @throws SourceError `not-found` where `strip` and `path` leave nothing of it: an empty tree would be published for a slip
 */
export async function unpack(members: AsyncIterable<Member>, init: UnpackInit): Promise<Unpacked> {
  const { limits } = init;
  const scratch = await createScratch(init.folder);
  const meter = createMeter(limits);
  let found = init.strip + init.path.length === 0;
  try {
    for await (const member of members) {
      meter.count();
      const segments = segmentsOf(member.name);
      const path = relocate(segments, init);
      // An empty directory is there, too.
      found ||= path !== undefined || (member.kind === "directory" && isRoot(segments, init));
      const target = member.kind === "hardlink" ? segmentsOf(member.target) : [];
      if (member.kind === "directory" || path === undefined) continue;
      const { mtime } = member;
      const failure = failureOf(member, meter.tooLarge);
      if (failure !== undefined) {
        await scratch.refuse(path, failure);
        continue;
      }
      if (member.kind === "symlink") {
        await scratch.symlink(path, member.target, { mtime });
        continue;
      }
      if (member.kind === "special") continue;
      const facts = { mode: member.mode === undefined ? undefined : member.mode & 0o777, mtime };
      if (member.kind === "file") {
        meter.measure(member.size, member.name);
        await scratch.put(path, member.size, await contentOf(member), facts);
      } else {
        const from = relocate(target, init);
        const size = from === undefined ? undefined : scratch.sizeOf(from);
        const wrong =
          from === undefined || size === undefined
            ? missingTarget(member.target)
            : meter.tooLarge(size, member.name);
        if (from === undefined || size === undefined || wrong !== undefined) {
          await scratch.refuse(path, wrong ?? missingTarget(member.target));
          continue;
        }
        // A link costs room as well: an archive of links to one large file must not fill the volume.
        meter.measure(size, member.name);
        init.grew(size);
        await scratch.copy(from, path, facts);
      }
    }
    if (!found) throw nothingLeft(init);
    return await scratch.finish();
  } finally {
    await scratch.close();
  }
}

/** Why a member cannot be published. */
function failureOf(
  member: Member,
  tooLarge: (size: number, name: string) => SourceError | undefined,
): SourceError | undefined {
  if (member.kind === "special") return member.failure;
  const unread = unreadable(member.name);
  if (unread !== undefined) return unread;
  return member.kind === "file" ? tooLarge(member.size, member.name) : undefined;
}

function nothingLeft({ strip, path }: UnpackInit): SourceError {
  const stripped = strip > 0 ? `after strip=${strip} ` : "";
  const directory = path.length > 0 ? `directory ${JSON.stringify(path.join("/"))}` : "member";
  return new SourceError("not-found", `the archive has ${stripped}no ${directory}`, {
    hint: "look at the names in the archive, and correct path and strip",
  });
}

function missingTarget(target: string): SourceError {
  return new SourceError(
    "invalid",
    `the archive holds a hard link to ${JSON.stringify(target)}, which is not an earlier file in it`,
    { hint: "nothing of it is used" },
  );
}

/** Keeps the limits of the tree while it is unpacked. */
export function createMeter({ maxFiles, maxBytes, maxFileBytes }: Limits) {
  let members = 0;
  let bytes = 0;
  const tooLarge = (size: number, name: string) =>
    size > maxFileBytes
      ? limitError(`${JSON.stringify(name)} is larger than ${maxFileBytes} bytes`)
      : undefined;
  const meter = {
    /** Directories too, and what `path` leaves out: each of them takes time. */
    count() {
      if (++members > maxFiles) {
        throw limitError(
          `the archive holds more than ${maxFiles} files and directories`,
          "raise --max-files if you trust this source",
        );
      }
    },
    tooLarge,
    measure(size: number, name: string) {
      const large = tooLarge(size, name);
      if (large !== undefined) throw large;
      bytes += size;
      if (bytes > maxBytes) {
        throw new NoRoomError(`the archive holds more than the ${maxBytes} bytes of --max-bytes`, {
          hint: "raise --max-bytes, or take less of it with path=",
        });
      }
    },
    /** Counts as well, and takes back what it counted where that is unpacked anew. */
    attempt() {
      const counted = { members: 0, bytes: 0 };
      return {
        tooLarge,
        count() {
          counted.members++;
          meter.count();
        },
        measure(size: number, name: string) {
          counted.bytes += size;
          meter.measure(size, name);
        },
        undo() {
          members -= counted.members;
          bytes -= counted.bytes;
        },
      };
    },
  };
  return meter;
}

/** Whether it is what becomes the root. */
function isRoot(
  segments: readonly string[],
  { strip, path }: Pick<UnpackInit, "strip" | "path">,
): boolean {
  return segments.length >= strip && segments.slice(strip).join("/") === path.join("/");
}

/** Where a member goes after `strip` and `path`; `undefined`: nowhere. */
function relocate(
  segments: readonly string[],
  { strip, path }: Pick<UnpackInit, "strip" | "path">,
): string | undefined {
  const stripped = segments.slice(strip);
  const inside = path.every((segment, index) => stripped[index] === segment);
  const rest = stripped.slice(path.length);
  return inside && rest.length > 0 ? rest.join("/") : undefined;
}
