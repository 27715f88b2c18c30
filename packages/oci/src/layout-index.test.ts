import { expect, test } from "vitest";
import { imageIn, indexWith, readLayoutIndex, tagsIn } from "./layout-index.ts";
import { referrersTag } from "./referrers.ts";

const digest = (letter: string) => `sha256:${letter.repeat(64)}`;
const image = (letter: string) => ({ mediaType: "m", digest: digest(letter), size: 1 });

function after(...puts: readonly (readonly [tag: string, letter: string])[]): readonly string[] {
  let manifests = readLayoutIndex(Buffer.from('{"schemaVersion":2,"manifests":[]}'));
  for (const [tag, letter] of puts) {
    manifests = readLayoutIndex(indexWith(manifests, tag, image(letter)));
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

const tagged = { tagged: true };

test("a tag moves although another program wrote it behind the name of a repository", () => {
  const named = (name: string, letter: string) => ({
    ...image(letter),
    annotations: { "org.opencontainers.image.ref.name": name },
  });
  const before = [named("registry.example:5000/site:live", "a"), named("site:other", "b")];
  const moved = readLayoutIndex(indexWith(before, "live", image("c")));
  expect(imageIn(moved, "live", tagged)).toBe(digest("c"));
  expect(tagsIn(moved)).toEqual(["other", "live"]);
});

test("what has many tags can be read, and what could not be read is not written", () => {
  const many = (count: number) =>
    Array.from({ length: count }, (_, i) => ({
      ...image("a"),
      annotations: { "org.opencontainers.image.ref.name": `v${i}` },
    }));
  const index = readLayoutIndex(indexWith(many(5000), "live", image("b")));
  expect(tagsIn(index)).toHaveLength(5001);
  expect(imageIn(index, "v4999", tagged)).toBe(digest("a"));
  expect(() => indexWith(many(50_000), "live", image("b"))).toThrow(
    expect.objectContaining({ code: "unsupported" }),
  );
});
