/** Whether the target's file system takes names that differ only by case or Unicode form for one. */
import { existsSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { randomName } from "./layout.ts";
import type { Volume } from "./volume.ts";
import { getMeta, setMeta } from "../state/meta.ts";
import { removeFile } from "./files.ts";

/** Found out once, with a file. */
export function foldsNames({ state, layout }: Volume): boolean {
  const known = getMeta(state, "folds");
  if (known !== undefined) return known === "yes";
  const name = randomName("Probe-\u00C9");
  const path = join(layout.home, name);
  writeFileSync(path, "", { flag: "wx" });
  const folds =
    existsSync(join(layout.home, name.toLowerCase())) ||
    existsSync(join(layout.home, name.normalize("NFD")));
  removeFile(path);
  setMeta(state, "folds", folds ? "yes" : "no");
  return folds;
}
