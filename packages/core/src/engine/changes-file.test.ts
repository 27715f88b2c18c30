import { mkdtempSync, openSync, fstatSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect, onTestFinished, test } from "vitest";
import { writeChanges } from "./changes-file.ts";

test("many changes are written whole, in pieces, and the file is closed", async () => {
  const directory = mkdtempSync(join(tmpdir(), "pannier-changes-"));
  onTestFinished(() => rmSync(directory, { recursive: true }));
  const paths = Array.from({ length: 5000 }, (_, i) => `a-directory-with-a-long-name/file-${i}`);
  const file = openSync(join(directory, "changes"), "wx");
  await writeChanges(
    file,
    paths.map((path) => ({ change: "added", path })),
  );
  expect(readFileSync(join(directory, "changes"), "utf8")).toBe(
    paths.map((path) => `A\t${path}\n`).join(""),
  );
  expect(() => fstatSync(file)).toThrow("EBADF");
});
