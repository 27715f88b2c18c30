import { quotePath, SourceError } from "@pannier/core/adapter";

/**
 * What is wrong with a name or the target of a symlink. What is not UTF-8 comes with U+FFFD in it, and could not be asked for.
 *
 * @param path of the file or symlink
 * @returns an error to be thrown should the path be wanted
 */
export function unicodeProblem(text: string, path: string): SourceError | undefined {
  if (!text.includes("\ufffd")) return undefined;
  return new SourceError("invalid", `the name or target of ${quotePath(path)} is not UTF-8`, {
    hint: "rename it, for example with convmv, or exclude it",
  });
}
