import { mkdtempSync, rmSync } from "node:fs";
import { expect, test } from "vitest";
import { fetchFile } from "./fetch-file.ts";
test("placeholder", () => {
  expect([fetchFile, mkdtempSync, rmSync]).toHaveLength(3);
});
