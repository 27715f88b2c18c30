import { sourceFactory } from "@pannier/core/adapter";
import { releaseAdapter } from "./adapter.ts";

export { releaseAdapter } from "./adapter.ts";

/**
 * Assets of a release on GitHub, GitLab, Gitea or Forgejo, for use as a library.
 *
 * @example release("release+https://github.com/org/repo", { asset: "*.tgz" })
 */
export const release = sourceFactory(releaseAdapter);
