import { expect, test } from "vitest";
import { indexWith, readLayoutIndex, tagsIn } from "./layout-index.ts";
import { referrersTag } from "./referrers.ts";

const digest = (letter: string) => `sha256:${letter.repeat(64)}`;
const image = (letter: string) => ({ mediaType: "m", digest: digest(letter), size: 1 });

function after(...puts: readonly (readonly [tag: string, letter: string])[]): readonly string[] {
  let manifests = readLayoutIndex(Buffer.from('{"schemaVersion":2,"manifests":[]}'));
  for (const [tag, letter] of puts) {
    const index = indexWith(manifests, tag, image(letter));
    manifests = readLayoutIndex(Buffer.from(JSON.stringify(index)));
  }
  return tagsIn(manifests);
}

const signatures = (letter: string) => referrersTag(digest(letter));

test("a tag that moves takes the signatures of what it named along, and nothing else", () => {
  const signed = [
    ["live", "a"],
    [signatures("a"), "1"],
    ["old", "a"],
    [signatures("b"), "2"],
  ] as const;
  // Another tag still names it.
  const moved = [signatures("a"), "old", signatures("b"), "live"];
  expect(after(...signed, ["live", "b"])).toEqual(moved);
  expect(after(...signed, ["live", "b"], ["old", "b"])).toEqual([signatures("b"), "live", "old"]);
  expect(after(...signed, ["live", "a"])).toContain(signatures("a"));
});
