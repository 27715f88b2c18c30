import { type OptionSpecs, type OptionValues, UsageError } from "@pannier/core/adapter";
import { isOid } from "./oid.ts";

export const gitOptions = {
  ref: {
    type: "string",
    description: "branch, tag or full commit SHA; default: the remote's HEAD",
    placeholder: "main",
  },
  path: {
    type: "string",
    description: "subdirectory of the repository that becomes the root",
    placeholder: "docs/site",
  },
  depth: {
    type: "integer",
    description: "commits of history to fetch into the cache; 0: all",
    default: 1,
  },
  submodules: {
    type: "enum",
    description: "shallow: the repository's submodules; recursive: theirs too; off: none",
    values: ["off", "shallow", "recursive"],
    default: "off",
  },
  engine: {
    type: "enum",
    description:
      "program that reads objects; cli: git; js: isomorphic-git; auto: git, if it is installed",
    values: ["auto", "js", "cli"],
    default: "auto",
  },
  lfs: {
    type: "boolean",
    description: "fetch Git LFS files from their server",
    default: false,
  },
} as const satisfies OptionSpecs;

export type GitOptions = OptionValues<typeof gitOptions>;

/**
 * Checks a ref by git's own rules (https://git-scm.com/docs/git-check-ref-format).
 *
 * @throws UsageError
 */
export function checkRef(ref: string): void {
  const wrong =
    ref === "" ||
    ref === "@" ||
    ref.startsWith("-") ||
    ref.startsWith("/") ||
    ref.endsWith("/") ||
    ref.endsWith(".") ||
    /\.\.|\/\/|@\{|[\s~^:?*[\\\p{Cc}]/u.test(ref) ||
    ref.length > 1000 ||
    ref.split("/").some((part) => part.startsWith(".") || part.endsWith(".lock"));
  if (wrong)
    throw new UsageError(
      `${JSON.stringify(ref.slice(0, 100))} cannot be the name of a branch or tag`,
      "give a branch, a tag, or a full commit SHA",
    );
}

/** The commit that a ref spells out in full. */
export function fullSha(ref: string | undefined): string | undefined {
  const lower = ref?.toLowerCase();
  return lower !== undefined && isOid(lower) ? lower : undefined;
}

/**
 * The subdirectory as segments joined by `/`.
 *
 * @throws UsageError where it leaves the repository
 */
export function checkPath(path: string | undefined): string {
  const segments = (path ?? "").split("/").filter((segment) => segment !== "" && segment !== ".");
  if (segments.includes("..") || path?.includes("\0") === true)
    throw new UsageError(`path=${JSON.stringify(path)} leaves the repository`);
  return segments.join("/");
}
