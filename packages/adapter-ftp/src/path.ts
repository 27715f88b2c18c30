/** Where files are on the server, as bytes: strings of one character each, see names.ts. */
import type { FileEntry } from "@pannier/core/adapter";

export function bytesOf(text: string): string {
  return Buffer.from(text, "utf8").toString("latin1");
}

/** @param root without a `/` at the end */
export function contentPath(root: string, { path, ref }: FileEntry): string {
  const below = ref === undefined ? bytesOf(path) : Buffer.from(ref, "base64").toString("latin1");
  return `${root}/${below}`;
}
