export interface TreeSettings {
  readonly dirMode: number;
  readonly owner: { readonly uid: number; readonly gid: number } | undefined;
  /** What to do with a file or symlink where a directory is needed: a candidate is ours to clear, a mirrored target is not. */
  readonly obstacles: "replace" | "refuse";
}

/** Of a tree in which nothing is written. */
export const READING: TreeSettings = { dirMode: 0o755, owner: undefined, obstacles: "refuse" };
