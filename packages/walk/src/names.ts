import { quotePath, SourceError } from "@pannier/core";

/**
 * Checks a name or the target of a symlink. What is not UTF-8 comes with U+FFFD in it, and could not be asked for.
 *
 * @param path of the file or symlink
 * @throws SourceError `invalid`
 */
export function checkUnicode(text: string, path: string): void {
  if (!text.includes("\ufffd")) return;
  throw new SourceError("invalid", `the name or target of ${quotePath(path)} is not UTF-8`, {
    hint: "rename it, for example with convmv",
  });
}
