/** Choosing a tag by a range of versions. */
import { SourceError, UsageError } from "@pannier/core/adapter";

export type TagChoice = (tags: readonly string[]) => string;

/**
 * Tags are taken for versions with or without a `v` before them, whole ones only: `1.2` is a tag that moves. `_` stands for the `+`
 * that tags cannot have, as Helm writes it. Versions before a release count only where the range names one.
 *
 * @throws UsageError where it is not a range
 */
export async function makeTagChoice(range: string): Promise<TagChoice> {
  const { default: semver } = await import("semver");
  if (semver.validRange(range) === null) {
    throw new UsageError(
      `${JSON.stringify(range)} is not a valid range of versions`,
      "write for example semver=%3E%3D1.2.0%20%3C2 for >=1.2.0 <2",
    );
  }
  return (tags) => {
    let best: { tag: string; version: string } | undefined;
    for (const tag of tags) {
      const version = semver.valid(tag.replace("_", "+"));
      if (version === null || !semver.satisfies(version, range)) continue;
      if (best === undefined || semver.compareBuild(version, best.version) > 0) {
        best = { tag, version };
      }
    }
    if (best !== undefined) return best.tag;
    throw new SourceError("not-found", `no tag is a version in the range ${range}`, {
      hint: `there are ${tags.length} tags; look at them, and correct semver=`,
    });
  };
}
