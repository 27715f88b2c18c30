/** The picture of a terminal shows what the program prints today. `npm run docs:pictures` draws it again. */
import { readFileSync } from "node:fs";
import { expect, test } from "vitest";
import { finalText } from "../../scripts/pictures/record-terminal.ts";
import { FILE, recordTour } from "../../scripts/pictures/terminal.ts";

/** Rows of the drawing that stay to its end. */
function drawn(svg: string): string[] {
  return Array.from(svg.matchAll(/<text x.*?>(.*?)<\/text>/g), ([, inner = ""]) =>
    inner
      .replaceAll(/<.*?>/g, "")
      .replaceAll("&lt;", "<")
      .replaceAll("&gt;", ">")
      .replaceAll("&amp;", "&"),
  );
}

const withoutDuration = (line: string) => line.replace(/, [\d.]+m?s$/, ", TIME");

test("docs/images/terminal.svg is what the program prints", { timeout: 120_000 }, async () => {
  const shown = drawn(readFileSync(FILE, "utf8")).map(withoutDuration);
  expect(shown).toContain("  2 files, 36 B; received 36 B in 3 requests, TIME");
  expect(shown).toEqual(finalText(await recordTour()).map(withoutDuration));
});
