import { expect, test } from "vitest";
import { makeRedact } from "./redact.ts";

test("what was given as a secret is taken out, in every form it may be met in", () => {
  const redact = makeRedact(
    ["git+https://ann:s%40cret%21@h/x.git", "https://ghp_token123@h/y", "ssh://git@h/z"],
    ["from-variable", undefined],
  );
  const basic = Buffer.from("ann:s@cret!").toString("base64");
  const said = redact(
    `s@cret! s%40cret%21 s%40cret! ghp_token123 from-variable Basic ${basic} ${basic} git`,
  );
  expect(said).not.toMatch(/s@cret|s%40cret|ghp_|from-variable/);
  expect(said).not.toContain(basic);
  expect(said).toContain(" git");
});

test.each([
  ["failed: https://u:p@host/path", "failed: https://***@host/path"],
  ["authorization: Bearer abcdefgh12345678==", "authorization: Bearer ***"],
  ["GET https://b/k?X-Amz-Signature=0123&a=1", "GET https://b/k?X-Amz-Signature=***&a=1"],
  ["nothing of the kind", "nothing of the kind"],
])("%s", (text, clean) => {
  expect(makeRedact([], [])(text)).toBe(clean);
});
