/** From members of a layer, as its archive or its table of contents has them, to rows. */
import { refuseKind, segmentsOf, unreadable } from "@pannier/archive";
import { SourceError } from "@pannier/core/adapter";
import type { TocEntry } from "@pannier/oci";
import type { Row } from "./table/rows.ts";

const WHITEOUT = ".wh.";
const OPAQUE = ".wh..wh..opq";
/** What one storage driver of Docker's kept for itself. */
const META = ".wh..wh.";

/** Where a member goes. */
export type Destination =
  | { readonly kind: "member"; readonly path: string }
  | { readonly kind: "whiteout" | "opaque"; readonly path: string }
  /** It cannot be published, nor be known to take nothing away. */
  | { readonly kind: "refused"; readonly path: string; readonly why: SourceError }
  /** It is outside of the root, or nothing that is content. */
  | { readonly kind: "none" };

/**
 * @param root the directory that is wanted: what lies elsewhere is passed over, but for what hides it
 * @throws SourceError `invalid` for a name that leads out of the tree
 */
export function destinationOf(name: string, root: string, whiteouts: boolean): Destination {
  const destination = readDestination(name, root, whiteouts);
  const why = destination.kind === "none" ? undefined : unreadable(name);
  if (destination.kind === "none" || why === undefined) return destination;
  // What other names it stands for, or hides, cannot be told.
  return { kind: "refused", path: destination.path, why };
}

function readDestination(name: string, root: string, whiteouts: boolean): Destination {
  const segments = segmentsOf(name);
  const last = segments.at(-1) ?? "";
  const parent = segments.slice(0, -1);
  if (!whiteouts || !segments.some((segment) => segment.startsWith(WHITEOUT))) {
    return within({ kind: "member", path: segments.join("/") }, root);
  }
  if (segments.some((segment) => segment.startsWith(META) && segment !== OPAQUE)) {
    return { kind: "none" };
  }
  if (parent.some((segment) => segment.startsWith(WHITEOUT))) throw refuse(name);
  if (last === OPAQUE) return within({ kind: "opaque", path: parent.join("/") }, root);
  const hidden = last.slice(WHITEOUT.length);
  if (hidden === "" || hidden === "." || hidden === "..") throw refuse(name);
  return within({ kind: "whiteout", path: [...parent, hidden].join("/") }, root);
}

function refuse(name: string): SourceError {
  return new SourceError(
    "invalid",
    `a layer holds ${JSON.stringify(name)}, which takes away what is not in it`,
    {
      hint: "nothing of it is used",
    },
  );
}

function within<Found extends Destination & { path: string }>(
  destination: Found,
  root: string,
): Found | { kind: "none" } {
  const { path } = destination;
  const inside = root === "" || path === root || path.startsWith(`${root}/`);
  const above = path === "" || root.startsWith(`${path}/`);
  return inside || above ? destination : { kind: "none" };
}

const NOTHING = {
  size: null,
  mode: null,
  mtime: null,
  target: null,
  sha256: null,
  start: null,
  end: null,
  frames: null,
} as const;

export function markRow(kind: "dir" | "whiteout" | "opaque", path: string): Row {
  return { ...NOTHING, path, kind };
}

/** What cannot be published is an error once it is listed and wanted. */
export function refusedRow(path: string, { code, message, hint }: SourceError): Row {
  return { ...NOTHING, path, kind: "refused", target: JSON.stringify({ code, message, hint }) };
}

export function linkRow(path: string, target: string, mtime: number | undefined): Row {
  return { ...NOTHING, path, kind: "link", target, mtime: timeOf(mtime) };
}

/** Who makes the same bytes of the same files sets their times to zero: that is no time. */
function timeOf(mtime: number | undefined): number | null {
  return mtime === undefined || mtime === 0 ? null : mtime;
}

export function fileRow(
  path: string,
  facts: {
    readonly size: number;
    readonly sha256: string;
    readonly mode: number | undefined;
    readonly mtime: number | undefined;
  },
): Row {
  const { size, sha256, mode, mtime } = facts;
  const kept = mode === undefined ? null : mode & 0o777;
  return { ...NOTHING, path, kind: "file", size, sha256, mode: kept, mtime: timeOf(mtime) };
}

const EMPTY_SHA256 = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

/** The rows of a layer's table of contents. What comes later under the same name counts. */
export function rowsOfToc(
  entries: readonly TocEntry[],
  root: string,
  whiteouts: boolean,
): Map<string, Row> {
  const rows = new Map<string, Row>();
  for (const entry of entries) {
    const destination = destinationOf(entry.name, root, whiteouts);
    const target = entry.type === "hardlink" ? segmentsOf(entry.linkName).join("/") : "";
    if (destination.kind === "none") continue;
    const { path } = destination;
    if (destination.kind === "refused") {
      if (entry.type !== "dir") rows.set(path, refusedRow(path, destination.why));
      continue;
    }
    if (destination.kind !== "member") {
      const key = `${destination.kind}\0${path}`;
      rows.set(key, markRow(destination.kind, path));
      continue;
    }
    if (path === "") continue;
    const { type, mode, mtime, size } = entry;
    switch (type) {
      case "reg": {
        const sha256 = size === 0 ? EMPTY_SHA256 : entry.sha256;
        const frames = entry.chunks.slice(1).map(({ offset, start }) => [offset, start]);
        rows.set(path, {
          ...fileRow(path, { size, sha256, mode, mtime }),
          start: entry.chunks[0]?.offset ?? null,
          end: entry.end,
          frames: frames.length === 0 ? null : JSON.stringify(frames),
        });
        break;
      }
      case "hardlink": {
        const of = rows.get(target);
        rows.set(
          path,
          of?.kind === "file"
            ? { ...of, path, mode: mode & 0o777, mtime: timeOf(mtime) }
            : refusedRow(path, missingTarget(entry.linkName)),
        );
        break;
      }
      case "symlink":
        rows.set(path, linkRow(path, entry.linkName, mtime));
        break;
      case "dir":
        rows.set(path, markRow("dir", path));
        break;
      default:
        rows.set(path, refusedRow(path, refuseKind(entry.name, type)));
    }
  }
  return rows;
}

export function missingTarget(target: string): SourceError {
  return new SourceError(
    "invalid",
    `a layer holds a hard link to ${JSON.stringify(target)}, which is not an earlier, wanted file of the layer`,
    { hint: "nothing of it is used" },
  );
}
