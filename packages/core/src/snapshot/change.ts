/** One changed path of a plan. */
export interface Change {
  readonly change: "added" | "changed" | "deleted";
  readonly path: string;
  readonly kind: "file" | "symlink";
  /** Bytes, where known; of the new content, or for `deleted` of the old. */
  readonly size: number | undefined;
  /** Position of the source that the path now comes from (for `deleted`: came from). */
  readonly source: number;
  /** What the source calls this version of the file, where it has names for them; none for `deleted`. */
  readonly version?: string | undefined;
}
