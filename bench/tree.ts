/** The tree of the benches of artifacts: files of 5.4 KiB that compress to half, in directories of a hundred. */
import { createHash } from "node:crypto";

/** @param files in all */
export function treePath(index: number, files: number): string {
  return `dir-${index % (files / 100)}/file-${index}`;
}

export function treeContent(index: number, version: number): string {
  const lines = Array.from({ length: 43 }, (_, line) =>
    createHash("sha512").update(`${index} ${version} ${line}`).digest("hex"),
  );
  return lines.join("");
}

/** Its files at the beginning. */
export function* treeFiles(files: number): Generator<readonly [path: string, content: string]> {
  for (let index = 0; index < files; index++) yield [treePath(index, files), treeContent(index, 0)];
}
