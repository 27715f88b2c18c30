/**
 * Which items of a tree are published as they are. A tree comes from whoever may push, and a server need not check it: git
 * refuses to check such trees out, and so do we, in the same way with both engines.
 */
import { quotePath, SourceError } from "@pannier/core/adapter";
import { isKnown, isSymlink, type TreeItem } from "./store/store.ts";

/** Characters that HFS+ leaves out of a name when it compares two (git: utf8.c, next_hfs_char). */
const HFS_IGNORES = /[\u200c-\u200f\u202a-\u202e\u206a-\u206f\ufeff]/g;

/**
 * `.git` as some file system would read it: in any case, as NTFS's short name, with dots, blanks or a stream's name behind
 * it (git: path.c, is_ntfs_dotgit). NTFS takes `\` for a separator.
 */
const DOT_GIT = /(?:^|[/\\])(?:\.git|git~1)[. ]*(?:$|[/\\:])/i;

/** NTFS's short names for `.gitmodules` where the plain ones are taken: part of a hash, `~`, a number; eight characters in all. */
const SHORT_NAMES = Array.from(
  { length: 7 },
  (_, digits) => `${"gi7eba".slice(0, 6 - digits)}~[1-9]\\d{${digits}}`,
).join("|");

/** `.gitmodules`, likewise (git: path.c, is_ntfs_dot_generic). */
const DOT_GITMODULES = new RegExp(
  String.raw`(?:^|[/\\])(?:\.gitmodules|gitmod~[1-4]|${SHORT_NAMES})[. ]*(?:$|:)`,
  "i",
);

/**
 * Checks an item before anything is made of it.
 *
 * @throws SourceError `invalid`
 */
export function checkItem({ path, mode }: TreeItem): void {
  // Any other type of item is none that git writes: read as a submodule, it would be left out without a word.
  if (!isKnown(mode))
    throw refused(path, `has the mode ${mode.toString(8)}, which git does not know`);
  const plain = path.replace(HFS_IGNORES, "");
  if (DOT_GIT.test(plain))
    throw refused(
      path,
      "would be git's own directory: whoever runs git beside it would run what is written there",
    );
  if (isSymlink(mode) && DOT_GITMODULES.test(plain))
    throw refused(path, "is a symlink, which git does not allow for .gitmodules");
}

function refused(path: string, why: string): SourceError {
  return new SourceError("invalid", `the repository's tree is refused: ${quotePath(path)} ${why}`, {
    hint: "remove it from the repository (git fsck names such entries), or choose a directory without it by path=",
  });
}
