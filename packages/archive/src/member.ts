/** What an archive holds, whatever its format. */
import { SourceError } from "@pannier/core/adapter";

interface Named {
  /** As the archive has it. */
  readonly name: string;
  readonly mtime: number | undefined;
}

/** One member of an archive. Its content must be read before the next member is asked for; else it is skipped. */
export type Member =
  | (Named & {
      readonly kind: "file";
      readonly mode: number | undefined;
      /** As announced; the content may not be larger. */
      readonly size: number;
      readonly content: AsyncIterable<Uint8Array>;
    })
  | (Named & {
      readonly kind: "hardlink";
      readonly mode: number | undefined;
      readonly target: string;
    })
  | (Named & { readonly kind: "symlink"; readonly target: string })
  | (Named & { readonly kind: "directory" })
  /** A device or a FIFO: nothing that can be published. */
  | (Named & { readonly kind: "special"; readonly what: string });

/**
 * The segments of a member's name, without `.` and empty ones.
 *
 * @throws SourceError `invalid` for a name that leads out of the tree: the archive is refused as a whole
 */
export function safeSegments(name: string): string[] {
  const refuse = (why: string) =>
    new SourceError("invalid", `the archive holds ${JSON.stringify(name)}, which ${why}`, {
      hint: "nothing of it is used",
    });
  if (name.startsWith("/")) throw refuse("is an absolute path");
  if (name.includes("\0")) throw refuse("holds a NUL");
  if (name.includes("\uFFFD")) throw refuse("is not UTF-8");
  const segments = name.split("/").filter((segment) => segment !== "" && segment !== ".");
  if (segments.includes("..")) throw refuse('holds ".."');
  return segments;
}

/** Refuses an archive for a member that is neither file, directory nor link. */
export function refuseKind(name: string, kind: string): SourceError {
  return new SourceError("invalid", `the archive holds ${JSON.stringify(name)}, a ${kind}`, {
    hint: "nothing of it is used",
  });
}
