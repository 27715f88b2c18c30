/** `npm run docs:tables`: writes the tables of {@link withTables} into the pages that have them. */
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { withTables } from "./option-tables.ts";
import { pages, ROOT } from "./pages.ts";

for (const { name } of pages()) {
  const file = join(ROOT, name);
  const text = readFileSync(file, "utf8");
  const written = withTables(text);
  if (written !== text) writeFileSync(file, written);
}
