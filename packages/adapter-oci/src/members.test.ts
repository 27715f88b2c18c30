import type { TocEntry } from "@pannier/oci";
import { expect, test } from "vitest";
import { rowsOfToc } from "./members.ts";

const entry = (name: string, type: TocEntry["type"], linkName = ""): TocEntry => ({
  name,
  type,
  linkName,
  mode: 0o644,
  mtime: 0,
  size: 0,
  sha256: "",
  chunks: [],
  end: 0,
});

test("what a table of contents holds and cannot be published is kept with its reason", () => {
  const rows = rowsOfToc(
    [
      entry("null", "char"),
      entry("link", "hardlink", "nothing"),
      entry("x\uFFFD", "reg"),
      entry("d\uFFFD", "dir"),
      entry(".wh.y\uFFFD", "reg"),
      entry("page", "reg"),
    ],
    "",
    true,
  );
  const reasons = [...rows.values()].map(({ path, kind, target }) => [
    path,
    kind === "refused" ? (JSON.parse(target ?? "") as { code: string }).code : kind,
  ]);
  expect(reasons).toEqual([
    ["null", "invalid"],
    ["link", "invalid"],
    ["x\uFFFD", "invalid"],
    ["y\uFFFD", "invalid"],
    ["page", "file"],
  ]);
});
