import { sourceFactory } from "@pannier/core/adapter";
import { gitAdapter } from "./adapter.ts";

export { gitAdapter } from "./adapter.ts";

/** A git repository as a source: `git("https://host/org/repo.git", { ref: "main" })`. */
export const git = sourceFactory(gitAdapter);
